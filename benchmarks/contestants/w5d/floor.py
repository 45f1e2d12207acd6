"""The floor of W5d: the recursion over the members by hand in JAX, the bags side by side, tilted.

Law: with log odds h + t and the potential g - t s in place of h and g the factor is the same; t puts the law of the sum
where the potential is, so that the sums neither underflow nor cancel. The tilted laws sum to one, and nothing has to be
scaled again.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.contestants.bags import BagRun
from benchmarks.contestants.staged import Staged
from benchmarks.workloads import bags

PACKAGES = ("jax", "jaxlib")
DTYPE = "float32"


def tilt_of(h: jax.Array, k: jax.Array) -> jax.Array:
    """A t for each bag with sum sigma(h + t) - k + t / 2 near zero, by Newton steps inside a bracket: any t serves."""

    def step(_: int, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        tilt, low, high = state
        one = jax.nn.sigmoid(h + tilt)
        gap = jnp.sum(one, axis=0) - k + tilt / 2
        low, high = jnp.where(gap > 0, low, tilt), jnp.where(gap > 0, tilt, high)
        next_ = tilt - gap / (jnp.sum(one * (1 - one), axis=0) + 0.5)
        return jnp.where((next_ >= low) & (next_ <= high), next_, (low + high) / 2), low, high

    return lax.fori_loop(0, 8, step, (jnp.zeros_like(k), jnp.full_like(k, -40.0), jnp.full_like(k, 40.0)))[0]


def messages(h: jax.Array, k: jax.Array) -> jax.Array:
    """Messages of the factors exp(-(sum y - k)^2), from log odds (bags, members) and counts (bags,)."""
    h = h.T
    tilt = tilt_of(h, k)
    count = jnp.arange(len(h) + 1, dtype=h.dtype)[:, None]
    log_weight = -((count - k) ** 2) - tilt * (count - k)
    weight = jnp.exp(log_weight - jnp.max(log_weight, axis=0))
    one, zero = jax.nn.sigmoid(h + tilt), jax.nn.sigmoid(-h - tilt)
    empty = jnp.zeros_like(weight[:1])

    def forward(law: jax.Array, member: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        p, q = member
        return q * law + p * jnp.concatenate([empty, law[:-1]]), law

    def backward(weight: jax.Array, member: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        p, q, law = member
        more = jnp.concatenate([weight[1:], empty])
        out = jnp.log(jnp.sum(law * more, axis=0)) - jnp.log(jnp.sum(law * weight, axis=0))
        return q * weight + p * more, out

    _, laws = lax.scan(forward, jnp.zeros_like(weight).at[0].set(1.0), (one, zero))
    _, out = lax.scan(backward, weight, (one, zero, laws), reverse=True)
    return (out + tilt).T


def build(settings: dict[str, Any]) -> BagRun:
    """The contestant for one variant."""
    data = tuple(map(jnp.asarray, bags(settings["members"], settings["share"])))
    return BagRun(Staged(messages), data, settings)
