"""Conditional means: exact probabilities and means of the sites that a sum or an integral took away.

Law: at values of the sites that stay they are the expectations of the sites that are gone given these and the data;
they are no draws, and their average over draws of what stays has less variance than that of draws (Rao-Blackwell).

Each site gets a weight exp(t f), f being which of its values it has, or its value. The derivative by t of the log of
the whole sum, at t = 0, is the mean of f: one gradient gives all of them, whatever the transformer does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.backends.xla import emit
from lawful.form import Factor, Form, Node, Site, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice
from lawful.form.pipeline import per_form
from lawful.passes.condition import fed
from lawful.passes.thread_sites import score
from lawful.tracing.trace import trace

from ..transformers.enumeration import Enumeration, marginal
from .batches import BatchSize, at_draws, over_rows

TILT = "~tilt"


def conditional_means(
    summed: Enumeration, draws: Mapping[str, Any], *args: Any, batch_size: BatchSize = "auto"
) -> dict[str, np.ndarray]:
    """Give the exact probabilities and means of the sites that were summed or integrated out.

    Args:
        summed: the program with its sites summed, from `enumeration`.
        draws: values of every site that stays, (chain, draw, ...) by name, as `result.posterior`; {} where none does.
        args: the program's arguments.
        batch_size: draws a batch.

    Returns: by name of each site that is gone: of finite sites the probabilities of their values, in ascending order,
        (chain, draw, ..., values), which in an arm that may not run sum to the probability that it does; of other sites
        the mean, (chain, draw, ...). Without the first two axes where no site stays: then they are those of the
        posterior, and `summed.marginal.log_density({}, *args)` is its log evidence.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful import inference
    >>> def mixture(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    ...     z = lawful.sample("z", dist.Bernoulli(0.5))
    ...     lawful.sample("y", dist.Normal(mu * z, 1.0), obs=y)
    >>> summed = inference.enumeration(lawful.trace(mixture, 1.0), ["z"])
    >>> found = conditional_means(summed, {"mu": np.array([[0.0, 1.0]])}, 1.0)
    >>> found["z"].round(4).tolist()
    [[[0.5, 0.5], [0.3775, 0.6225]]]
    """
    kept, function = _slopes(summed.full, summed)
    answers = at_draws(function, args, kept, draws if kept else {}, batch_size)
    return {c.name: answer for c, answer in zip(summed.summed, answers, strict=True)}


@per_form
def _slopes(full: Form, summed: Enumeration) -> tuple[tuple[Choice, ...], Callable[..., list[jax.Array]]]:
    """Compile the derivatives of the log of the sum by the tilts of its sites, once per `full`."""
    gone = {c.address: c for c in summed.summed}
    program = fed(summed.program, gone, lambda node, tilt: _tilted(node, tilt, gone), _kind)
    form = marginal(summed.sums(program.form), summed.summed)
    scored = score(form)
    run, own, count = emit(scored.form), scored.own, len(summed.program.inputs)
    tilts = [jnp.zeros(v.shape, v.dtype) for v in program.form.inputs[count:]]
    order = [c.address for c in program.choices]

    def log_sum(tilts: list[jax.Array], inputs: Sequence[Any], values: Sequence[Any]) -> jax.Array:
        outputs, _ = run(jax.random.key(0), *inputs, *tilts, *values)
        return outputs[own] + outputs[own + 1]

    def one(inputs: Sequence[Any], values: Sequence[Any]) -> list[jax.Array]:
        found = dict(zip(order, jax.grad(log_sum)(tilts, inputs, values), strict=True))
        return [jnp.moveaxis(found[c.address], len(c.loops), -1) if _values(c) is not None else found[c.address]
                for c in summed.summed]  # fmt: skip

    return scored.choices, over_rows(one)


def _values(choice: Choice) -> np.ndarray | None:
    """List the values of an element of a finite choice, where they are whole numbers in a row."""
    if choice.law.element_values is None:
        return None
    values = choice.law.element_values
    return values if np.array_equal(values, values[0] + np.arange(len(values))) else None


def _kind(choice: Choice) -> Var:
    values = _values(choice)
    return Var(choice.shape if values is None else (len(values), *choice.shape), jnp.dtype(jnp.result_type(float)))


def _tilted(node: Site | Factor, tilt: Var | None, gone: Mapping[Address, Choice]) -> tuple[Node, ...]:
    """Put the factor of a tilt after its site."""
    if tilt is None or not isinstance(node, Site):
        return (node,)
    values, block = _values(gone[node.address]), Block()

    def term(value: jax.Array, tilt: jax.Array) -> jax.Array:
        if values is None:
            return jnp.sum(value * tilt)
        first = int(values[0])
        return sum((jnp.sum(jnp.where(value == first + k, tilt[k], 0.0)) for k in range(len(values))), jnp.zeros(()))

    shapes = [jnp.zeros(v.shape, v.dtype) for v in (node.out, tilt)]
    (weight,) = block.splice(trace(term, *shapes), (node.out, tilt))
    block.nodes.append(Factor((TILT, *node.address), weight))
    return (node, *block.nodes)
