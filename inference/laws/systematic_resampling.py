"""Systematic resampling, and stratified: one point in each of M equal strata of the running weights.

Law: with x_i = M (w_1 + ... + w_i) / sum(w), item i gets the points j + u_j in [x_{i-1}, x_i). Systematic has one u
for all strata, so |offspring_i - M w_i| < 1; stratified one for each, so |offspring_i - M w_i| < 2. Ancestors
ascend. Offspring are counted from the sums, without a search or a sort. Equal weights with M = N give the identity.

The sums x_i stand in fixed point, so that counts are exact to one at every size: they ascend, stay equal across an item
of weight zero, end at exactly M, and for equal weights with M = N are 1, 2, ..., N exactly. Integers add without
rounding, in any order: a float32 sum of 1e5 weights is off by a hundredth of an offspring between neighbours, one of
1e7 by a whole one. Up to 2**17 items one word holds the whole part and the fraction, above them float32 has a word for
each. Where several devices hold a part of the weights each, sums go across them: integers again, so the number of
devices changes nothing.

Reference: Kitagawa (1996), Monte Carlo filter and smoother; Douc, Cappe and Moulines (2005), Comparison of resampling
schemes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from lawful.distributions.protocol import product_grid
from lawful.distributions.sampling.integer_weights import running_sum
from lawful.errors import IndexRangeError, PathLimitError

from .resampling_schemes import Scheme, named

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

    The last count is at most the number of slots. Under `jax.vmap` the populations stand one behind the other as one
    large population, which CPUs fill almost twice as fast as many small ones.

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


def push_systematic(u: Shaped[Array, ""], weights: Float[Array, " N"], n_offspring: int) -> Int[Array, " M"]:
    """Place the points u, 1 + u, ..., M - 1 + u.

    >>> push_systematic(jnp.float32(0.5), jnp.array([0.5, 0.0, 1.5]), 2).tolist()
    [2, 2]
    """
    expected = expected_offspring(weights, n_offspring)
    return _ancestors(expected, expected.ends(uniform_units(u, weights, n_offspring)), n_offspring)


def push_stratified(u: Shaped[Array, " M"], weights: Float[Array, " N"], n_offspring: int) -> Int[Array, " M"]:
    """Place the points u_0, 1 + u_1, ..., M - 1 + u_{M-1}.

    >>> push_stratified(jnp.array([0.25, 0.0]), jnp.array([0.5, 0.0, 1.5]), 2).tolist()
    [0, 2]
    """
    expected = expected_offspring(weights, n_offspring)
    units = uniform_units(u, weights, n_offspring)
    own = units[jnp.minimum(expected.whole, n_offspring - 1)]  # the point in the stratum where each sum ends
    return _ancestors(expected, expected.ends(own), n_offspring)


def _ancestors(expected: Expected, ends: Int[Array, " N"], n_offspring: int) -> Int[Array, " M"]:
    ancestors = ancestors_from_ends(ends, n_offspring)
    n_weights = ends.shape[0]
    if n_weights == n_offspring:  # weights that are not usable count as equal ones, which give the identity
        return ancestors
    return jnp.where(expected.usable, ancestors, untouched(n_weights, n_offspring))


def enumerate_systematic(weights: Float[Array, " N"], n_offspring: int) -> tuple[Int[Array, "C M"], Float[Array, " C"]]:
    """List the N + 1 cells between consecutive fractional parts of the sums; ancestors are those of the midpoint.

    >>> ancestors, log_masses = enumerate_systematic(jnp.array([1.0, 3.0]), 2)
    >>> ancestors.tolist(), jnp.exp(log_masses).tolist()
    ([[0, 1], [0, 1], [1, 1]], [0.0, 0.5, 0.5])
    """
    expected = expected_offspring(weights, n_offspring)
    bits = fraction_bits(weights, n_offspring)
    breaks = jnp.sort(expected.fraction)
    starts = jnp.concatenate([jnp.zeros_like(breaks[:1]), breaks])
    lengths = jnp.diff(starts, append=_one(bits, starts)[None])
    words = _as_words(starts + lengths // 2, bits)
    ancestors = jax.vmap(lambda u: push_systematic(u, weights, n_offspring))(words)
    return ancestors, _log_mass(lengths, bits, weights)


def enumerate_stratified(weights: Float[Array, " N"], n_offspring: int) -> tuple[Int[Array, "C M"], Float[Array, " C"]]:
    """List the N**M choices of an item in each stratum, with the product of their shares of the strata.

    >>> ancestors, log_masses = enumerate_stratified(jnp.array([1.0, 3.0]), 2)
    >>> ancestors.tolist(), jnp.exp(log_masses).tolist()
    ([[0, 1], [0, 1], [1, 1], [1, 1]], [0.0, 0.5, 0.0, 0.5])
    """
    expected = expected_offspring(weights, n_offspring)
    bits = fraction_bits(weights, n_offspring)
    strata = jnp.arange(n_offspring, dtype=jnp.int32)[:, None]
    whole, fraction = expected.whole[None], expected.fraction[None]
    one = _one(bits, fraction)
    ends = jnp.where(whole < strata, 0, jnp.where(whole > strata, one, fraction))  # of the items in each stratum (M, N)
    lengths = jnp.diff(ends, axis=1, prepend=0)
    middles = jnp.minimum(ends - lengths + lengths // 2, one - 1)
    grid = product_grid(weights.shape[0], n_offspring)
    slots = jnp.arange(n_offspring)[None]
    words = _as_words(middles, bits)[slots, grid]
    ancestors = jax.vmap(lambda u: push_stratified(u, weights, n_offspring))(words)
    return ancestors, jnp.sum(_log_mass(lengths, bits, weights)[slots, grid], axis=1)


def _one(bits: int, like: jax.Array) -> jax.Array:
    if bits == jnp.iinfo(like.dtype).bits:
        raise PathLimitError(
            f"enumerating a resampling step of more than {ONE_WORD} particles in float32: give float64 weights, "
            "or fewer particles."
        )
    return jnp.asarray(1 << bits, like.dtype)


def _as_words(units: jax.Array, bits: int) -> jax.Array:
    """Write fractions as the words that `uniform_units` reads back."""
    if units.dtype == jnp.int64:
        return units.astype(jnp.uint64) << (64 - bits)
    return units.astype(jnp.uint32) << (32 - bits)


def _log_mass(lengths: jax.Array, bits: int, weights: Float[Array, " N"]) -> jax.Array:
    mass = lengths.astype(weights.dtype) / 2.0**bits
    return jnp.where(mass > 0, jnp.log(jnp.where(mass > 0, mass, 1)), -jnp.inf)


def _one_uniform(n_weights: int, n_offspring: int) -> tuple[int, ...]:
    return ()


def _uniform_per_offspring(n_weights: int, n_offspring: int) -> tuple[int, ...]:
    return (n_offspring,)


def _breakpoints(n_weights: int, n_offspring: int) -> int:
    return n_weights + 1


def _tuples(n_weights: int, n_offspring: int) -> int:
    return n_weights**n_offspring


systematic = named(
    Scheme("systematic", _one_uniform, push_systematic, enumerate_systematic, _breakpoints, ascending=True)
)
stratified = named(
    Scheme("stratified", _uniform_per_offspring, push_stratified, enumerate_stratified, _tuples, ascending=True)
)
