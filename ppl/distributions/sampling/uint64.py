"""uint64: unsigned 64-bit arithmetic on pairs of 32-bit words, so that it needs no 64-bit type.

Law: every operation equals that of the integers modulo 2**64, element by element, in any order of a parallel sum.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

HALF = 16
MASK = (1 << HALF) - 1


class Wide(NamedTuple):
    """An array of integers high * 2**32 + low; both words are uint32 of one shape."""

    high: jax.Array
    low: jax.Array


def add(a: Wide, b: Wide) -> Wide:
    """Return a + b."""
    low = a.low + b.low
    return Wide(a.high + b.high + _bit(low < b.low), low)


def subtract(a: Wide, b: Wide) -> Wide:
    """Return a - b."""
    return Wide(a.high - b.high - _bit(a.low < b.low), a.low - b.low)


def product(a: jax.Array, b: jax.Array) -> Wide:
    """Return the full product of two arrays of uint32, by their half words.

    >>> product(jnp.uint32(0xFFFFFFFF), jnp.uint32(0xFFFFFFFF)).high.item() == 0xFFFFFFFE
    True
    """
    a_low, a_high, b_low, b_high = a & MASK, a >> HALF, b & MASK, b >> HALF
    bottom, top = a_low * b_low, a_high * b_high
    left, right = a_low * b_high, a_high * b_low
    middle = (bottom >> HALF) + (left & MASK) + (right & MASK)
    high = top + (left >> HALF) + (right >> HALF) + (middle >> HALF)
    return Wide(high, (bottom & MASK) | (middle << HALF))


def times(a: Wide, b: jax.Array) -> Wide:
    """Return a * b for an array b of uint32."""
    low = product(a.low, b)
    return Wide(a.high * b + low.high, low.low)


def scaled(total: Wide, fraction: Wide) -> Wide:
    """Return total * fraction / 2**64 rounded down, at most two below the exact quotient and never above it.

    >>> scaled(Wide(jnp.uint32(6), jnp.uint32(0)), Wide(jnp.uint32(1 << 31), jnp.uint32(0))).high.item()
    3
    """
    carried = Wide(jnp.zeros_like(fraction.high), product(total.low, fraction.high).high)
    carried = add(carried, Wide(jnp.zeros_like(fraction.high), product(total.high, fraction.low).high))
    return add(product(total.high, fraction.high), carried)


def portion(count: jax.Array, fraction: Wide) -> jax.Array:
    """Return count * fraction / 2**64 rounded down, for counts of uint32: an index below the count.

    >>> portion(jnp.uint32(6), Wide(jnp.uint32(1 << 31), jnp.uint32(0))).item()
    3
    """
    zero = jnp.zeros_like(fraction.high)
    return add(product(fraction.high, count), Wide(zero, product(fraction.low, count).high)).high


def less(a: Wide, b: Wide) -> jax.Array:
    """Tell where a < b."""
    return (a.high < b.high) | ((a.high == b.high) & (a.low < b.low))


def negative(a: Wide) -> jax.Array:
    """Tell where a stands for a negative number in two's complement."""
    return a.high >= jnp.uint32(1 << 31)


def to_float(a: Wide, dtype: jax.typing.DTypeLike) -> jax.Array:
    """Return the nearest floating-point number, a read in two's complement."""
    signed = jax.lax.bitcast_convert_type(a.high, jnp.int32)
    return signed.astype(dtype) * 2.0**32 + a.low.astype(dtype)


def _bit(condition: jax.Array) -> jax.Array:
    return condition.astype(jnp.uint32)
