"""Loop overflow: how much mass the bounds of a program's loops cut off.

Law: an estimate is a mean of independent draws from the prior, of the indicator that a loop goes on at its bound; it is
unbiased for the probability of that. A loop that no draw takes beyond its bound has no finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import show_address
from lawful.backends.pointwise import ask_at_prior
from lawful.form import Factor, Form, Site
from lawful.form.arguments.arrays import split_arguments
from lawful.form.pipeline import per_form
from lawful.messages import OVERFLOW
from lawful.passes.probe import Asked, Probe

from .findings import Finding

DRAWS = 2048


def overflow_findings(form: Form, args: tuple[Any, ...], loops: Sequence[Factor]) -> tuple[Finding, ...]:
    """Estimate for each bounded loop, given by its factor, the probability that a run of the prior goes beyond it.

    >>> import numpyro.distributions as dist, lawful
    >>> def geometric():
    ...     def heads(n):
    ...         return lawful.sample("heads", dist.Bernoulli(0.5)) == 1
    ...     return lawful.bounded_loop(heads, lambda n: n + 1, 0, max_steps=1)
    >>> form = lawful.trace(geometric)
    >>> (finding,) = overflow_findings(form, (), [node for node in form.nodes if isinstance(node, Factor)])
    >>> finding.code, finding.sites, abs(finding.value - 0.25) < 0.05
    ('OVERFLOW', ('loop',), True)
    """
    bounds = {node.address: node for node in loops}
    asked, run = _reader(form)
    inputs, _, _ = split_arguments(args)
    found = []
    for place, share in zip(asked, run(inputs), strict=True):
        if share > 0:
            node = bounds[place.address]
            name = show_address(place.address[:-1])
            found.append(
                Finding(
                    "OVERFLOW",
                    f"bounded_loop '{name}' ({node.source}): {float(share):.2%} of {DRAWS} runs of the prior go beyond "
                    "its bound and are cut off, so the result is restricted to the runs that end within it; raise "
                    "max_steps until this is negligible.",
                    sites=(name,),
                    value=float(np.asarray(share)),
                    limit=0.0,
                )
            )
    return tuple(found)


@per_form
def _reader(form: Form) -> tuple[tuple[Asked, ...], Callable[..., list[jax.Array]]]:
    asked, ask = ask_at_prior(form, _question)

    def one(key: jax.Array, inputs: Any) -> list[jax.Array]:
        return [jnp.any(answer) for answer in ask(key, inputs)]

    @jax.jit
    def run(inputs: Any) -> list[jax.Array]:
        def draw(index: jax.Array) -> list[jax.Array]:
            return one(jax.random.fold_in(jax.random.key(0), index), inputs)

        return [jnp.mean(cut, dtype=jnp.result_type(float)) for cut in jax.lax.map(draw, jnp.arange(DRAWS))]

    return asked, run


def _question(node: Site | Factor) -> Iterable[Probe]:
    if isinstance(node, Factor) and node.role == OVERFLOW:
        yield Probe(OVERFLOW, jnp.isneginf, (node.term,))
