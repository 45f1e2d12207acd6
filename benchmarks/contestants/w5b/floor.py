"""The floor of W5b: forward and backward by hand in JAX in the linear domain, rescaled, and nothing else.

Law: right where no weight that matters underflows, as in this model; the log likelihood is a compensated sum.

What makes it fast: a column of ones beside the transition matrix, and a row below it, so that the product that moves
the weights adds them up as well; each step divides by the sum of the step before.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.contestants.hidden import HiddenRun
from benchmarks.workloads import hidden

PACKAGES = ("jax", "jaxlib")
DTYPE = "float32"


def smooth(start: jax.Array, transition: jax.Array, scores: jax.Array) -> dict[str, jax.Array]:
    """Log likelihood and marginals, from the probabilities and the log densities."""
    k = start.shape[0]
    top = jnp.max(scores, axis=1)
    weight = jnp.exp(scores - top[:, None])
    right = jnp.concatenate([transition, jnp.ones((k, 1), transition.dtype)], axis=1)
    below = jnp.concatenate([transition, jnp.ones((1, k), transition.dtype)], axis=0)

    def forward(before: jax.Array, weight: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        both = before @ right
        after = both[:k] / both[k] * weight
        return after, (after, both[k])

    def backward(after: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
        both = below @ (after * weight)
        before = both[:k] / both[k]
        return before, before

    first = start * weight[0]
    last, (rest, sizes) = lax.scan(forward, first, weight[1:])
    _, after = lax.scan(backward, jnp.ones_like(first), weight[1:], reverse=True)
    joint = jnp.concatenate([first[None], rest]) * jnp.concatenate([after, jnp.ones_like(first)[None]])
    terms = jnp.concatenate([jnp.log(sizes), jnp.log(jnp.sum(last))[None], top])
    return {"log_likelihood": summed(terms), "marginals": joint / jnp.sum(joint, axis=1, keepdims=True)}


def summed(terms: jax.Array) -> jax.Array:
    """Sum by halves, with what rounding takes kept apart."""
    high = jnp.pad(terms, (0, (1 << (len(terms) - 1).bit_length()) - len(terms)))
    low = jnp.zeros_like(high)
    while len(high) > 1:
        a, b = jnp.split(high, 2)
        high = a + b
        moved = high - a
        low = sum(jnp.split(low, 2)) + ((a - (high - moved)) + (b - moved))
    return high[0] + low[0]


def build(settings: dict[str, Any]) -> HiddenRun:
    """The contestant for one variant."""
    model = hidden()
    return HiddenRun(smooth, tuple(jnp.asarray(x, DTYPE) for x in (model.start, model.transition, model.node_scores())))
