"""Categorical draws by inverse CDF on exact sums: rare items get their probability in float32 too.

Law: P(i) = exp(logits_i) / sum(exp(logits)) to 1e-4 of itself for items down to 1e-12, in both float types. The
Gumbel trick of `jax.random.categorical` is wrong in float32 below 1e-7; a float32 cumulative sum misplaces such
items by tens of percent.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .masses import cumulative, find, integer_masses
from .wide import Wide


def sample_categorical(
    key: jax.Array, logits: Float[Array, "*batch K"], shape: tuple[int, ...] = ()
) -> Int[Array, "*shape_and_batch"]:
    """Draw indices with probabilities proportional to exp(logits), by 64 random bits each.

    Args:
        key: a typed random key.
        logits: (*batch, K) log weights on any scale; -inf marks an impossible item.
        shape: leading axes of independent draws, as `sample_shape` of a distribution.

    Returns:
        (*shape, *batch) indices in 0..K-1; -1, which is no index, where the logits are all -inf or one is NaN or +inf.

    >>> logits = jnp.array([-jnp.inf, 0.0, -jnp.inf])
    >>> sample_categorical(jax.random.key(0), logits, (4,)).tolist()
    [1, 1, 1, 1]
    """
    batch = logits.shape[:-1]
    words = jax.random.bits(key, (2, *shape, *batch), jnp.uint32)
    if not batch:
        return _draw_row(logits, words)
    rows = logits.reshape(-1, logits.shape[-1])
    words = words.reshape(2, math.prod(shape), rows.shape[0])
    drawn = jax.vmap(_draw_row, in_axes=(0, 2), out_axes=1)(rows, words)
    return drawn.reshape(*shape, *batch)


def _draw_row(logits: Float[Array, " K"], words: jax.Array) -> jax.Array:
    """Draw from one row of logits with words (2, ...)."""
    top = jnp.max(logits)
    sums = cumulative(integer_masses(jnp.exp(logits - jnp.where(jnp.isfinite(top), top, 0))))
    possible = (sums.high[-1] | sums.low[-1]) > 0
    return jnp.where(possible, find(sums, Wide(words[0], words[1])), -1).astype(jnp.result_type(int))
