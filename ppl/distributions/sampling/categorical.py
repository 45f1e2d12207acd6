"""Categorical draws by inverse CDF on exact sums, and coins: rare items get their probability in float32 too.

Law: P(i) = exp(logits_i) / sum(exp(logits)) to 1e-4 of itself for items down to 1e-12, in both float types. The
Gumbel trick of `jax.random.categorical` is wrong in float32 below 1e-7; a float32 cumulative sum misplaces such
items by tens of percent. P(heads) = p to 2**-46 in float32, and exactly 0 and 1 at p = 0 and 1: a uniform number of
float32 is a multiple of 2**-23, so compared with p = 1e-12 it would give heads once in eight million draws; a second
one refines it.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int

from .integer_weights import cumulative, find, in_units, integer_masses
from .threefry import words
from .uint64 import Wide, add, less, scaled

FINE = 52  # bits of a uniform number that needs no refinement
FEW = 8  # items, for which operations along the lanes are faster than those along the items


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
    bits = jax.random.bits(key, (2, *shape, *batch), jnp.uint32)
    if not batch:
        return _draw_row(logits, bits)
    rows = logits.reshape(-1, logits.shape[-1])
    bits = bits.reshape(2, math.prod(shape), rows.shape[0])
    drawn = jax.vmap(_draw_row, in_axes=(0, 2), out_axes=1)(rows, bits)
    return drawn.reshape(*shape, *batch)


def sample_rows(key: jax.Array, weights: Float[Array, "N K"]) -> Int[Array, " N"]:
    """Draw one index from each row, with probabilities proportional to its weights, with one key for all rows.

    Returns: (N,) indices in 0..K-1; -1 where a row is all zero, or has a weight that is NaN or infinite.

    >>> sample_rows(jax.random.key(0), jnp.array([[0.0, 2.0], [3.0, 0.0]])).tolist()
    [1, 0]
    """
    lanes, items = weights.shape
    bits = words(key, (lanes, 2))
    if items > FEW:
        return jax.vmap(_draw_row)(jnp.log(weights), bits)
    columns = [weights[:, item] for item in range(items)]
    top = functools.reduce(jnp.maximum, columns)
    scale = jnp.where((top > 0) & (top < jnp.inf), top, 1)
    columns = [column / scale for column in columns]
    total = functools.reduce(jnp.add, columns)
    sums = list(itertools.accumulate((in_units(column, total) for column in columns), add))
    target = scaled(sums[-1], Wide(bits[:, 0], bits[:, 1]))
    passed = [(~less(target, inner)).astype(jnp.result_type(int)) for inner in sums[:-1]]
    found = functools.reduce(jnp.add, passed, jnp.zeros(lanes, jnp.result_type(int)))
    return jnp.where((sums[-1].high | sums[-1].low) > 0, found, -1)


def _draw_row(logits: Float[Array, " K"], bits: jax.Array) -> jax.Array:
    """Draw from one row of logits with words (2, ...)."""
    top = jnp.max(logits)
    sums = cumulative(integer_masses(jnp.exp(logits - jnp.where(jnp.isfinite(top), top, 0))))
    possible = (sums.high[-1] | sums.low[-1]) > 0
    return jnp.where(possible, find(sums, Wide(bits[0], bits[1])), -1).astype(jnp.result_type(int))


def sample_bernoulli(key: jax.Array, distribution: Any, shape: tuple[int, ...]) -> jax.Array | None:
    """Draw in single precision, where the distribution's own draw is wrong below 1e-7; None in double precision.

    >>> sample_bernoulli(jax.random.key(0), dist.Bernoulli(jnp.float32([0.0, 1.0])), (2,)).tolist()
    [False, True]
    """
    by_logits = isinstance(distribution, dist.BernoulliLogits)
    parameter = jnp.asarray(distribution.logits if by_logits else distribution.probs)
    if not jnp.issubdtype(parameter.dtype, jnp.floating) or jnp.finfo(parameter.dtype).nmant >= FINE:
        return None
    if not by_logits:
        return jax.random.bernoulli(key, parameter, shape, mode="high")
    rarer = jax.nn.sigmoid(-jnp.abs(parameter))  # of the two sides, whose probability is told to its last bit
    return jax.random.bernoulli(key, rarer, shape, mode="high") ^ (jnp.broadcast_to(parameter, shape) > 0)
