"""Tilt: a program weighed by a power of its density ratio to another program.

Law: the density of tilt(p, toward=q, beta) is p(x)**(1 - beta) * q(x)**beta where p(x) > 0 and nothing elsewhere: the
program itself at beta 0, the other one at beta 1, the geometric path between them, and beyond 1 what the other one has
more of. A value that only q reaches is left out, so beta 1 gives all of q where p is positive wherever q is.

Reference: Gelman and Meng (1998), Simulating normalizing constants: from importance sampling to bridge sampling to path
sampling, section 2 (the geometric path).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from lawful import factor
from lawful.addresses import Address, show_address
from lawful.backends.log_density import scored
from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.arguments.arrays import split_arguments
from lawful.form.choices import Choice
from lawful.language.run_form import run_form
from lawful.passes.record import record
from lawful.tracing.trace import trace

from ...representations.tempered_program import times


def tilt(program: Callable[..., Any], toward: Callable[..., Any], beta: Any = 1.0) -> Callable[..., Any]:
    """Weigh a program by (density of another / its own) ** beta, observations and factors included.

    Evidence of the tilted program at beta 1 is that of the other one, seen from this one, so that the ratio of both is
    a Bayes factor; with `importance(tilt(guide, toward=model))` a program of yours is the proposal for all choices.

    Args:
        program: draws the choices.
        toward: another program of the same arguments and choices: names, shapes, and branches that hold them.
        beta: the power, 0 or more; a value of the program around it, too. Below 0 it has a meaning only where the other
            program is positive wherever this one is.

    Returns: a program of the same arguments, which returns what `program` returns.

    Raises, when the program runs or is traced:
        LawfulError: the two have not the same choices.
        UnsupportedProgramError: it stands in a plate, which belongs into both programs.

    >>> import jax.numpy as jnp, lawful, numpyro.distributions as dist
    >>> from lawful import inference
    >>> def level(mean):
    ...     return lambda: lawful.sample("level", dist.Categorical(logits=mean * jnp.arange(3.0)))
    >>> both = tilt(level(0.0), toward=level(2.0), beta=0.5)
    >>> marginal = inference.enumerate(both)().marginal("level")
    >>> [round(float(p), 3) for p in marginal.values()], [round(float(p), 3) for p in jax.nn.softmax(jnp.arange(3.0))]
    ([0.09, 0.245, 0.665], [0.09, 0.245, 0.665])
    """

    def tilted(*args: Any) -> Any:
        form, other = trace(program, *args), trace(toward, *args)
        recorded = record(form, ("sample",))
        parts = recorded.split(run_form(replace(recorded.form, out_tree=None), *args))
        values = {choice.address: value for choice, (value,) in zip(recorded.choices, parts.outputs, strict=True)}
        active = _active(recorded.choices, parts.flags)
        here, there = (_log_density(one, args, values, active) for one in (form, other))
        factor("tilt", _log_weight(beta, here, there))
        outputs = parts.own
        whole = form.out_tree is not None and form.out_tree.num_leaves == len(outputs)
        return jax.tree.unflatten(form.out_tree, outputs) if whole else outputs

    return tilted


def _log_weight(beta: Any, here: jax.Array, there: jax.Array) -> jax.Array:
    """Log of a power of the ratio; where the program itself has no mass the run weighs nothing as it is."""
    return jnp.where(here == -jnp.inf, 0.0, times(beta, there - here))


def _active(choices: Sequence[Choice], flags: Sequence[Any]) -> dict[Address, Any]:
    """Tell of each choice in an arm whether the arm ran, at each step."""
    return dict(zip([choice.address for choice in choices if choice.conditional], flags, strict=True))


def _log_density(form: Form, args: Sequence[Any], values: dict[Address, Any], active: dict[Address, Any]) -> jax.Array:
    """Score a form where another one has drawn; nothing where the two do not have the same choices active."""
    threaded, function = scored(form)
    left, right = ({a: tuple(shape) for a, shape in sizes.items()} for sizes in (
        {address: jnp.shape(value) for address, value in values.items()},
        {choice.address: choice.full_shape for choice in threaded.choices},
    ))  # fmt: skip
    if left != right:
        raise LawfulError(
            f"tilt: the program has the choices {_shown(left)}, and the other one {_shown(right)}. Fix: give both the "
            "same names and shapes; a choice that one of them sums out belongs to neither.",
            given=left, expected=right,
        )  # fmt: skip
    inputs, _, _ = split_arguments(args)
    wanted = [values[choice.address].astype(choice.dtype) for choice in threaded.choices]
    prior, likelihood, flags = function(inputs, wanted)
    there = _active(threaded.choices, flags)
    same = jnp.asarray(True)
    for address in active.keys() | there.keys():
        same = same & jnp.all(active.get(address, True) == there.get(address, True))
    return jnp.where(same, prior + likelihood, -jnp.inf)


def _shown(sizes: dict[Address, tuple[int, ...]]) -> str:
    return ", ".join(sorted(f"'{show_address(address)}' {shape}" for address, shape in sizes.items())) or "none"
