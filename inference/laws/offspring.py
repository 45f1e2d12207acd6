"""Expected offspring: the running sum of M w_i / sum(w), in fixed point, so that counts are exact to one at every size.

Law: the sums ascend, stay equal across an item of weight zero, and end at exactly M; equal weights with M = N give
1, 2, ..., N exactly. Integers add without rounding, in any order: a float32 sum of 1e5 weights is off by a hundredth
of an offspring between neighbours, one of 1e7 by a whole one. Up to 2**17 items one word holds the whole part and
the fraction, above them float32 has a word for each. Where several devices hold a part of the weights each, sums go
across them: integers again, so the number of devices changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lawful.distributions.sampling.integer_weights import running_sum
from lawful.errors import IndexRangeError

ONE_WORD = 1 << 17
WORD = 2.0**32


@runtime_checkable
class Items(Protocol):
    """How values of all items are reduced: those of one array, or those that many devices hold a part of each."""

    def count(self, values: jax.Array) -> int:
        """Count the items."""

    def maximum(self, values: jax.Array) -> jax.Array:
        """Give the largest value."""

    def total(self, values: jax.Array) -> jax.Array:
        """Sum all values."""

    def running(self, values: jax.Array) -> jax.Array:
        """Sum up to each item."""

    def highest(self, values: jax.Array) -> jax.Array:
        """Give the largest value up to each item."""

    def last(self, values: jax.Array) -> jax.Array:
        """Give the value of the last item."""


@dataclass(frozen=True)
class OneArray:
    """All items stand in one array."""

    def count(self, values: jax.Array) -> int:
        """Count the items."""
        return values.shape[0]

    def maximum(self, values: jax.Array) -> jax.Array:
        """Give the largest value."""
        return jnp.max(values)

    def total(self, values: jax.Array) -> jax.Array:
        """Sum all values."""
        return jnp.sum(values)

    def running(self, values: jax.Array) -> jax.Array:
        """Sum up to each item."""
        return running_sum(values)

    def highest(self, values: jax.Array) -> jax.Array:
        """Give the largest value up to each item."""
        return jax.lax.cummax(values)

    def last(self, values: jax.Array) -> jax.Array:
        """Give the value of the last item."""
        return values[-1]


class Expected(NamedTuple):
    """Running sums whole + fraction / 2**bits of the expected offspring, and whether the weights allow any."""

    whole: jax.Array
    fraction: jax.Array
    usable: jax.Array

    def ends(self, uniform: jax.Array, items: Items = OneArray()) -> Int[Array, " N"]:
        """Count the points j + uniform, j = 0, 1, ..., below each sum; the uniform in the units of the fraction."""
        ends = self.whole + (self.fraction > uniform).astype(self.whole.dtype)
        # In two words the float32 correction can swap neighbours by 1e-7: an item of weight zero must not win by that.
        return items.highest(ends) if self.fraction.dtype == jnp.uint32 else ends


def fraction_bits(weights: Float[Array, " N"], n_offspring: int) -> int:
    """Return the number of binary digits behind the point, a static number."""
    size = max(weights.shape[0], n_offspring)
    if weights.dtype == jnp.float64:
        return min(52, 62 - n_offspring.bit_length())
    return 30 - n_offspring.bit_length() if size <= ONE_WORD else 32


def expected_offspring(weights: Float[Array, " N"], n_offspring: int, items: Items = OneArray()) -> Expected:
    """Sum the expected offspring up to each item; where devices hold a part of the `items` each, those of this part.

    Weights without a finite positive sum (all zero, or one NaN or infinite) are not usable: here they count as equal.
    """
    if not 1 <= n_offspring < 1 << 31:
        raise IndexRangeError(
            f"resampling to {n_offspring} offspring: give a number from 1 to 2**31 - 1.", given=n_offspring
        )
    if weights.dtype == jnp.float64:
        return _one_word(weights, n_offspring, jnp.int64, items)
    if max(items.count(weights), n_offspring) <= ONE_WORD:
        return _one_word(weights.astype(jnp.float32), n_offspring, jnp.int32, items)
    return _two_words(weights.astype(jnp.float32), n_offspring, items)


def _one_word(
    weights: Float[Array, " N"], n_offspring: int, dtype: jax.typing.DTypeLike, items: Items = OneArray()
) -> Expected:
    bits = fraction_bits(weights, n_offspring)
    end = n_offspring << bits
    usable, total = _total(weights, items)
    equal = float(end // items.count(weights))
    units = jnp.where(usable, jnp.rint(weights * (1 / total) * float(end)), equal).astype(dtype)
    sums = items.running(units)
    last = items.last(sums)
    # The rounding of the total and of the units is spread over the items in proportion, so that the sums end at M.
    excess = (last - end).astype(weights.dtype) / jnp.maximum(last, 1).astype(weights.dtype)
    sums = sums - jnp.rint(sums.astype(weights.dtype) * excess).astype(dtype)
    sums = jnp.where(sums == items.last(sums), end, sums)
    return Expected((sums >> bits).astype(jnp.int32), sums & ((1 << bits) - 1), usable)


def _two_words(weights: Float[Array, " N"], n_offspring: int, items: Items = OneArray()) -> Expected:
    top = items.maximum(weights)
    weights = weights / jnp.where(top > 0, top, 1)  # equal weights become exactly one
    usable, total = _total(weights, items)
    each = jnp.where(usable, weights * (n_offspring / total), n_offspring / items.count(weights))
    floors = jnp.floor(each)
    parts = _to_word(each - floors)
    fraction = items.running(parts)
    whole = items.running(floors.astype(jnp.int32) + (fraction < parts).astype(jnp.int32))
    last_whole, last_fraction = items.last(whole), items.last(fraction)
    excess = (last_whole - n_offspring).astype(jnp.float32) + last_fraction.astype(jnp.float32) / WORD
    correction = (whole.astype(jnp.float32) + fraction.astype(jnp.float32) / WORD) * (excess / (n_offspring + excess))
    down = jnp.floor(correction)
    cut = _to_word(correction - down)
    at_end = (whole == last_whole) & (fraction == last_fraction)
    whole = whole - down.astype(jnp.int32) - (fraction < cut).astype(jnp.int32)
    whole = jnp.where(at_end, n_offspring, jnp.minimum(whole, n_offspring))
    fraction = jnp.where(whole == n_offspring, 0, fraction - cut)
    return Expected(whole, fraction, usable)


def _total(weights: Float[Array, " N"], items: Items) -> tuple[Bool[Array, ""], Float[Array, ""]]:
    total = items.total(weights)
    usable = (total > 0) & (total < jnp.inf)
    return usable, jnp.where(usable, total, 1)


def _to_word(part: Float[Array, " N"]) -> jax.Array:
    """Write fractions in [0, 1] as words; 1, a rounding of less, becomes the largest float32 below it."""
    return (jnp.minimum(part, 1 - 2.0**-24) * WORD).astype(jnp.uint32)


def uniform_units(uniform: jax.Array, weights: Float[Array, " N"], n_offspring: int) -> jax.Array:
    """Convert uniforms, floats in [0, 1) or words read as word / 2**width, to the units of `Expected.fraction`."""
    bits = fraction_bits(weights, n_offspring)
    dtype = jnp.uint32 if bits == 32 else jnp.int64 if weights.dtype == jnp.float64 else jnp.int32
    if jnp.issubdtype(uniform.dtype, jnp.floating):
        below_one = 1 - float(jnp.finfo(uniform.dtype).epsneg)
        return (jnp.minimum(uniform, below_one) * 2.0**bits).astype(dtype)
    width = jnp.iinfo(uniform.dtype).bits
    if width >= bits:
        return (uniform >> (width - bits)).astype(dtype)
    return uniform.astype(dtype) << (bits - width)


def ancestors_from_ends(ends: Int[Array, " N"], n_offspring: int) -> Int[Array, " M"]:
    """Turn running offspring counts into ancestors: slot k belongs to the first item whose count exceeds k.

    Under `jax.vmap` the populations stand one behind the other as one large population, which CPUs fill almost twice as
    fast as many small ones.

    Args:
        ends: ascending counts (N,), the last at most the number of slots.
        n_offspring: number of slots M.

    >>> ancestors_from_ends(jnp.array([2, 2, 3]), 3).tolist()
    [0, 0, 2]
    """

    def plain(ends: jax.Array) -> jax.Array:
        steps = jnp.zeros(n_offspring, jnp.int32).at[ends].add(1, mode="drop")
        return running_sum(steps)

    fill = jax.custom_batching.custom_vmap(plain)

    @fill.def_vmap
    def rule(size: int, batched: Sequence[bool], ends: jax.Array) -> tuple[jax.Array, bool]:
        items = ends.shape[1]
        if size * max(items, n_offspring) > jnp.iinfo(jnp.int32).max:
            return jax.vmap(plain)(ends), True
        before = jnp.arange(size, dtype=jnp.int32)[:, None]
        # The barrier keeps XLA from computing the ends in the flat loop, where each finds its row by a division.
        ends = jax.lax.optimization_barrier(ends + before * n_offspring)
        joined = ancestors_from_ends(ends.reshape(-1), size * n_offspring)
        return joined.reshape(size, n_offspring) - before * items, True

    return fill(ends)


def untouched(n_weights: int, n_offspring: int) -> Int[Array, " M"]:
    """Return the ancestors of a population that is left as it is: slot k comes from k modulo N."""
    return jnp.arange(n_offspring, dtype=jnp.int32) % n_weights
