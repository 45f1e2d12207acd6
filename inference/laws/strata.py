"""Strata, of systematic and stratified resampling: one point in each of M equal strata of the running weights.

Law: with x_i = M (w_1 + ... + w_i) / sum(w), item i gets the points j + u_j in [x_{i-1}, x_i). Systematic has one u
for all strata, so |offspring_i - M w_i| < 1; stratified one for each, so |offspring_i - M w_i| < 2. Ancestors
ascend. Offspring are counted from the sums, without a search or a sort. Equal weights with M = N give the identity.

Reference: Kitagawa (1996), Monte Carlo filter and smoother; Douc, Cappe and Moulines (2005), Comparison of resampling
schemes.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from lawful.distributions.protocol import product_grid
from lawful.errors import PathLimitError

from .offspring import (
    ONE_WORD,
    Expected,
    ancestors_from_ends,
    expected_offspring,
    fraction_bits,
    uniform_units,
    untouched,
)
from .scheme import Scheme


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


systematic = Scheme("systematic", _one_uniform, push_systematic, enumerate_systematic, _breakpoints, ascending=True)
stratified = Scheme(
    "stratified", _uniform_per_offspring, push_stratified, enumerate_stratified, _tuples, ascending=True
)
