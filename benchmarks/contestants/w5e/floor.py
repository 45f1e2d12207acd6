"""The floor of W5e: the sweep by hand in JAX, log odds on a list of edges, sums at the variables by scatter-add."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.contestants.pairs import PairsRun
from benchmarks.workloads import ATTRACTION, REPULSION, pairs

PACKAGES = ("jax", "jaxlib")
DTYPE = "float32"


def build(settings: dict[str, Any]) -> PairsRun:
    """The contestant for one variant."""
    given = pairs(settings["variables"], settings["bag"])
    alike = np.repeat([-REPULSION, ATTRACTION], [len(given.cliques), len(given.near)])

    @jax.jit
    def marginals(odds: jax.Array, weight: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
        def gathered(messages: tuple[jax.Array, jax.Array]) -> jax.Array:
            return odds.at[first].add(messages[0]).at[second].add(messages[1])

        def sent(total: jax.Array, back: jax.Array) -> jax.Array:
            odds = jnp.exp(jnp.clip(total - back, -80.0, 80.0))
            return jnp.log((1 + weight * odds) / (weight + odds))

        def sweep(_: int, messages: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            total = gathered(messages)  # messages[0] goes to the first variable of each pair
            new = sent(total[second], messages[1]), sent(total[first], messages[0])
            return 0.5 * (messages[0] + new[0]), 0.5 * (messages[1] + new[1])

        return jax.nn.sigmoid(gathered(lax.fori_loop(0, settings["sweeps"], sweep, (0 * weight, 0 * weight))))

    def make() -> tuple[jax.Array, ...]:
        edges = np.concatenate([given.cliques, given.near]).astype(np.int32)
        return tuple(map(jnp.asarray, (given.odds, np.exp(alike).astype(DTYPE), edges[:, 0], edges[:, 1])))

    return PairsRun(make, lambda made: marginals(*made), settings)
