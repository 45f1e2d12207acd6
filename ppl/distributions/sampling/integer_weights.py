"""Integer weights: weights whose sums are exact, so that an inverse CDF gives every item its own probability.

Law: item i is found with probability q_i / sum(q), where q_i is w_i in units of 2**-58 of the sum, rounded down.
Integers add without rounding, so the order of a parallel sum is of no account, and an item of weight zero is never
found.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from . import uint64 as wide
from .uint64 import Wide

TOTAL_BITS = 59
ROW = 4
SHORT = 512
FEW = 32


def running_sum(values: Num[Array, " N"]) -> Num[Array, " N"]:
    """Sum up to each element, in rows of four: about twice as fast on CPUs as the built-in cumulative sum.

    Exact for integers (modulo their width). The barriers keep XLA from computing an element's inputs once per row.

    >>> running_sum(jnp.array([1, 2, 3, 4, 5])).tolist()
    [1, 3, 6, 10, 15]
    """
    n = values.shape[0]
    if n <= FEW:  # by doubling: a map over many short rows has no fast cumulative sum
        for step in (1 << i for i in range((n - 1).bit_length())):
            values = jax.lax.optimization_barrier(values + jnp.pad(values[:-step], (step, 0)))
        return values
    if n <= SHORT:
        return jnp.cumsum(values, dtype=values.dtype)
    rows = jnp.pad(values, (0, -n % ROW)).reshape(-1, ROW)
    rows = jax.lax.optimization_barrier(rows)
    rows = rows + jnp.pad(rows[:, :-1], ((0, 0), (1, 0)))
    rows = jax.lax.optimization_barrier(rows + jnp.pad(rows[:, :-2], ((0, 0), (2, 0))))
    totals = rows[:, -1]
    before = jax.lax.optimization_barrier(running_sum(totals) - totals)
    return jax.lax.optimization_barrier((rows + before[:, None]).reshape(-1)[:n])


def integer_masses(weights: Float[Array, " N"]) -> Wide:
    """Return q: the weights in units of a power of two, with a sum in [2**58, 2**59].

    All q are zero where the weights have no finite positive sum: all zero, or one NaN or infinite.
    """
    return in_units(weights, jnp.sum(weights))


def in_units(weights: Float[Array, "*shape"], total: Float[Array, "*shape_of_total"]) -> Wide:
    """Return weights in units of the power of two that puts their sum into [2**58, 2**59]."""
    usable = (total > 0) & (total < jnp.inf)
    _, exponent = jnp.frexp(jnp.where(usable, total, 1))
    shift = TOTAL_BITS - exponent
    one = jnp.ones((), weights.dtype)
    units = weights * jnp.ldexp(one, shift // 2) * jnp.ldexp(one, shift - shift // 2)
    units = jnp.where(usable, units, 0)
    high = jnp.floor(units * 2.0**-32)
    return Wide(high.astype(jnp.uint32), (units - high * 2.0**32).astype(jnp.uint32))


def cumulative(masses: Wide) -> Wide:
    """Sum up to each item; the last element is the total."""
    low = running_sum(masses.low)
    carry = (low < masses.low).astype(jnp.uint32)
    return Wide(running_sum(masses.high + carry), low)


def find(sums: Wide, fraction: Wide) -> jax.Array:
    """Find for each fraction U of 2**64 the item i with sums[i - 1] <= U total < sums[i].

    Args:
        sums: cumulative masses (N,).
        fraction: uniform words of any shape.

    Returns:
        indices in 0..N-1, int32; 0..N-1 also where the total is zero, which has to be caught apart.
    """
    n = sums.low.shape[0]
    target = wide.scaled(Wide(sums.high[-1], sums.low[-1]), fraction)
    if n <= FEW:
        axes = tuple(range(target.low.ndim))
        inner = Wide(jnp.expand_dims(sums.high[:-1], axes), jnp.expand_dims(sums.low[:-1], axes))
        passed = ~wide.less(Wide(target.high[..., None], target.low[..., None]), inner)
        return jnp.sum(passed, axis=-1, dtype=jnp.int32)
    steps = (n - 1).bit_length()

    def halve(i: jax.Array, found: jax.Array) -> jax.Array:
        beyond = found + (1 << (steps - 1 - i))
        last = jnp.minimum(beyond, n) - 1
        passed = ~wide.less(target, Wide(sums.high[last], sums.low[last]))
        return jnp.where((beyond < n) & passed, beyond, found)

    return jax.lax.fori_loop(0, steps, halve, jnp.zeros(target.low.shape, jnp.int32))


def shares(masses: Wide, dtype: jax.typing.DTypeLike) -> Float[Array, " N"]:
    """Return q_i / sum(q), the probabilities that `find` realises; all zero for a zero total."""
    sums = cumulative(masses)
    total = wide.to_float(Wide(sums.high[-1], sums.low[-1]), dtype)
    return wide.to_float(masses, dtype) / jnp.where(total > 0, total, 1)
