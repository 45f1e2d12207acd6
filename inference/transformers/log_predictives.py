"""Log predictives: the log density of the data as a vector over the steps of a loop, each step's given those before it.

Law: the vector, what stands outside of the loop, and the prior of the sites that stay add up to the log density of the
marginal. A loop that is summed along its states, or a chain of normals that is integrated, carries the law of its state
given the data so far, from which each step takes what its data weigh.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from operator import rshift
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.pointwise import ask_at_choices
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Factor, Form, Loop, Site, walk
from lawful.form.arguments.arrays import split_arguments
from lawful.form.arguments.calls import positional
from lawful.form.choices import choices_of
from lawful.form.operations.compensated_sum import over_steps
from lawful.inspection.lint.observed_data import checked_data
from lawful.tracing.trace import trace

from ..contract import Transformer
from ..representations.element_terms import LogMarginals, terms_of
from ..summing.chosen_sites import Sums, checked_sites
from .enumeration import enumeration, marginal
from .marginalise import Marginal, marginalise


def log_predictives(
    program: Callable[..., Any] | Form, *args: Any, enumerate: Sums | None = None, **named: Any
) -> LogMarginals:
    """Give the log predictive densities of the steps of a loop: log p(y_t | y_1, ..., y_t-1, theta), states summed out.

    Args:
        program: a program or a Form with one `lawful.scan`, whose steps observe data.
        args: its arguments, data among them.
        enumerate: what is summed or integrated out, as for `log_marginals`: the latent sites of the loop, and those
            that it starts from. All other latent sites stay, and are the parameters.
        named: arguments by name.

    Returns: what `log_marginals` gives, for the steps: a function of the values of the sites that stay, which `scores`,
        `information` and `robust_errors` take. Steps stand in the order of the data, whichever way the loop runs.

    Raises:
        LawfulError: there is no loop with sites, or more than one.
        UnsupportedProgramError: a latent site of the loop stays, or the data up to a step are not seen to be apart.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful.inference import integrate_normals
    >>> def level(y):
    ...     noise = lawful.sample("noise", dist.HalfNormal(1.0))
    ...     def step(x, y):
    ...         x = lawful.sample("x", dist.Normal(x, 1.0))
    ...         lawful.sample("y", dist.Normal(x, noise), obs=y)
    ...         return x, None
    ...     lawful.scan(step, 0.0, y)
    >>> found = log_predictives(level, jnp.array([1.0, 2.0]), enumerate=integrate_normals(["x"]))
    >>> found
    LogMarginals(y over step 2, given noise)
    >>> [round(float(x), 4) for x in found({"noise": 1.0})]  # N(1; 0, 2) and N(2; 0.5, 2.5)
    [-1.5155, -1.8271]
    """
    args = positional(program, args, named)
    form = trace(program, *args)
    inputs, _, _ = split_arguments(args)
    checked_data(form, inputs)
    loop = _loop_of(form)
    left = marginal(form) if enumerate is None else _summed(form, enumerate)
    for choice in choices_of(left):
        if choice.loops:
            raise UnsupportedProgramError(
                f"log_predictives: the site '{choice.name}' ({choice.source}) of the loop stays, so that the data so "
                "far leave no law of the state. Fix: sum it out, by enumerate=, as integrate_normals() or 'all'.",
                site=choice.address,
            )
    sites = tuple(c.name for c in choices_of(form, ("observed",)) if c.loops) or tuple(
        c.name for c in choices_of(form, ("observed",))
    )
    arrays = tuple(np.asarray(x) for x in inputs)
    return LogMarginals(("step",), (loop.length,), sites, {}, left, arrays, _function(left, loop.length), apart=False)


def _loop_of(form: Form) -> Loop:
    """Find the loop whose steps are meant."""
    loops = [node for node in form.nodes if isinstance(node, Loop)]
    found = [loop for loop in loops if any(isinstance(node, Site) for node in walk(loop.body))]
    if len(found) != 1:
        raise LawfulError(
            f"log_predictives: expected one lawful.scan with sites, whose steps are meant, got {len(found)}. Fix: "
            "write the steps in one scan; for the elements of a plate take log_marginals."
        )
    return found[0]


def _summed(form: Form, sums: Sums) -> Form:
    """Sum sites out, so that each step of a loop has factors of its own."""
    sums = checked_sites(sums, "enumerate")
    given = sums if isinstance(sums, Transformer) else marginalise(sums)
    return enumeration(form, reduce(rshift, map(_by_step, given.parts))).marginal


@runtime_checkable
class _Stepwise(Protocol):
    """What a transformer does that can give each step of a loop factors of its own."""

    by_step: bool


def _by_step(part: Transformer) -> Transformer:
    if not isinstance(part.apply, _Stepwise):
        return part
    apply: Any = part.apply
    if isinstance(apply, Marginal) and (apply.method in ("graph", "loopy") or not part.contract.exact):
        raise LawfulError(
            f"log_predictives: {part} sums through a factor graph, where no step comes before another. Fix: leave out "
            "method= and approximate=."
        )
    return replace(part, apply=replace(apply, by_step=True))


def _function(left: Form, length: int) -> Callable[..., tuple[jax.Array, jax.Array, jax.Array]]:
    """Write and compile the three parts."""
    asked, answers = ask_at_choices(left, terms_of)
    loops = [node for node in left.nodes if isinstance(node, Loop) and node.length == length]
    inside = {node.address for loop in loops for node in walk(loop.body) if isinstance(node, Site | Factor)}
    if not any(part.kind == "likelihood" and part.address in inside for part in asked):
        raise UnsupportedProgramError(
            "log_predictives: no data are seen to belong to the steps of the loop. Fix: observe the data of a step in "
            "it, and sum out its latent sites by enumerate=."
        )

    @jax.jit
    def function(inputs: Sequence[Any], values: Sequence[Any]) -> tuple[jax.Array, jax.Array, jax.Array]:
        zero = jnp.zeros((), jnp.result_type(float))
        elements, outside, prior = jnp.zeros(length, zero.dtype), zero, zero
        for part, x in zip(asked, answers(inputs, values), strict=True):
            if part.kind == "likelihood" and part.address in inside:
                elements = elements + jnp.sum(x.reshape(length, -1), axis=1)
            elif part.kind == "likelihood":
                outside = outside + over_steps(x.reshape(-1))
            else:
                prior = prior + over_steps(x.reshape(-1))
        return elements, outside, prior

    return function
