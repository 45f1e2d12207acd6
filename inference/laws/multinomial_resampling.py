"""Multinomial resampling, and residual: offspring picked independently, all of them or what is left after whole shares.

Law: a pick is item i with probability proportional to its mass. Multinomial picks all M offspring from the weights.
Residual gives item i floor(M w_i / sum(w)) offspring for certain, in the first slots, and picks the others from the
remainders. The floors are those of integers, which hold the weights to 2**-58 of their sum: a share equal to a whole
number is never lost to rounding, one that is closer below a whole number than that is taken for whole, and equal
weights with M = N give the identity.

Reference: Liu and Chen (1998), Sequential Monte Carlo methods for dynamic systems; Douc, Cappe and Moulines (2005).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from lawful.distributions.protocol import product_grid
from lawful.distributions.sampling import uint64 as wide
from lawful.distributions.sampling.integer_weights import cumulative, find, integer_masses, running_sum, shares
from lawful.distributions.sampling.uint64 import Wide

from .log_sum import safe_log
from .resampling_schemes import Scheme, named
from .systematic_resampling import ancestors_from_ends, untouched


def push_multinomial(u: Shaped[Array, "M 2"], weights: Float[Array, " N"], n_offspring: int) -> Int[Array, " M"]:
    """Pick the item in whose part of the running weights each uniform falls.

    >>> u = jnp.array([[0.9, 0.0], [0.1, 0.0]])
    >>> push_multinomial(u, jnp.array([1.0, 0.0, 3.0]), 2).tolist()
    [2, 0]
    """
    sums = cumulative(integer_masses(weights))
    usable = (sums.high[-1] | sums.low[-1]) > 0
    return jnp.where(usable, find(sums, _fractions(u)), untouched(weights.shape[0], n_offspring))


def push_residual(u: Shaped[Array, "M 2"], weights: Float[Array, " N"], n_offspring: int) -> Int[Array, " M"]:
    """Give the whole shares, then pick from the remainders with the uniforms of the slots that are left.

    >>> u = jnp.array([[0.0, 0.0], [0.0, 0.0], [0.9, 0.0]])
    >>> push_residual(u, jnp.array([0.5, 1.5]), 3).tolist()
    [1, 1, 1]
    """
    whole, remainders, usable = _whole_shares(weights, n_offspring)
    picked = find(cumulative(integer_masses(remainders)), _fractions(u))
    return jnp.where(usable, _place(whole, picked), untouched(weights.shape[0], n_offspring))


def _place(whole: Int[Array, " N"], picked: Int[Array, "*C M"]) -> Int[Array, "*C M"]:
    """Fill the slots: those of the whole shares first, then the picks."""
    n_offspring = picked.shape[-1]
    ends = running_sum(whole)
    certain = jnp.arange(n_offspring, dtype=jnp.int32) < ends[-1]
    return jnp.where(certain, ancestors_from_ends(ends, n_offspring), picked)


def _whole_shares(
    weights: Float[Array, " N"], n_offspring: int
) -> tuple[Int[Array, " N"], Float[Array, " N"], jax.Array]:
    """Divide M q_i by the total: the quotient, the remainder in units of the total, and whether there is a total."""
    masses = integer_masses(weights)
    sums = cumulative(masses)
    total = Wide(sums.high[-1], sums.low[-1])
    usable = (total.high | total.low) > 0
    total = Wide(jnp.where(usable, total.high, 1), total.low)
    size = wide.to_float(total, weights.dtype)
    whole = jnp.floor(wide.to_float(masses, weights.dtype) / size * n_offspring).astype(jnp.int32)
    count = jnp.asarray(n_offspring, jnp.uint32)
    rest = wide.subtract(wide.times(masses, count), _multiple(total, whole))
    step = jnp.floor(wide.to_float(rest, weights.dtype) / size).astype(jnp.int32)  # rounding: off by a few, then by one
    whole, rest = whole + step, wide.subtract(rest, _multiple(total, step))
    step = (~wide.negative(rest) & ~wide.less(rest, total)).astype(jnp.int32) - wide.negative(rest).astype(jnp.int32)
    whole, rest = whole + step, wide.subtract(rest, _multiple(total, step))
    return whole, wide.to_float(rest, weights.dtype) / size, usable


def _multiple(total: Wide, factor: Int[Array, " N"]) -> Wide:
    """Return total * factor modulo 2**64, for factors of either sign."""
    words = jax.lax.bitcast_convert_type(factor, jnp.uint32)
    full = wide.times(total, words)
    return Wide(full.high - jnp.where(factor < 0, total.low, 0), full.low)


def _fractions(u: Shaped[Array, "M 2"]) -> Wide:
    """Read pairs of uniforms as fractions of 2**64."""
    coarse, fine = u[:, 0], u[:, 1]
    if not jnp.issubdtype(u.dtype, jnp.floating):
        return Wide(_top_word(coarse), _top_word(fine))
    high = jnp.floor(coarse * 2.0**32)
    rest = (coarse * 2.0**32 - high) * 2.0**32 + fine * 2.0**40
    carry = jnp.floor(rest * 2.0**-32)
    return Wide((high + carry).astype(jnp.uint32), (rest - carry * 2.0**32).astype(jnp.uint32))


def _top_word(words: jax.Array) -> jax.Array:
    return (words >> (jnp.iinfo(words.dtype).bits - 32)).astype(jnp.uint32)


def enumerate_multinomial(
    weights: Float[Array, " N"], n_offspring: int
) -> tuple[Int[Array, "C M"], Float[Array, " C"]]:
    """List the N**M tuples of picks.

    >>> ancestors, log_masses = enumerate_multinomial(jnp.array([1.0, 3.0]), 1)
    >>> ancestors.tolist(), jnp.exp(log_masses).tolist()
    ([[0], [1]], [0.25, 0.75])
    """
    size = weights.shape[0]
    grid = jnp.asarray(product_grid(size, n_offspring))
    probabilities = shares(integer_masses(weights), weights.dtype)
    usable = jnp.any(probabilities > 0)
    log_masses = safe_log(jnp.where(usable, probabilities, 1 / size))
    return jnp.where(usable, grid, untouched(size, n_offspring)), jnp.sum(log_masses[grid], axis=1)


def enumerate_residual(weights: Float[Array, " N"], n_offspring: int) -> tuple[Int[Array, "C M"], Float[Array, " C"]]:
    """List N**M tuples of picks; a slot of the whole shares has its item for certain.

    >>> ancestors, log_masses = enumerate_residual(jnp.array([1.0, 3.0]), 2)
    >>> ancestors.tolist(), jnp.exp(log_masses).tolist()
    ([[1, 0], [1, 1], [1, 0], [1, 1]], [0.0, 0.0, 0.5, 0.5])
    """
    size = weights.shape[0]
    grid = jnp.asarray(product_grid(size, n_offspring))
    whole, remainders, usable = _whole_shares(weights, n_offspring)
    whole = jnp.where(usable, whole, 0)
    certain = jnp.arange(n_offspring, dtype=jnp.int32) < jnp.sum(whole, dtype=jnp.int32)
    probabilities = jnp.where(usable, shares(integer_masses(remainders), weights.dtype), 1 / size)
    own = grid == _place(whole, grid)
    log_masses = jnp.where(certain, jnp.where(own, 0, -jnp.inf), safe_log(probabilities)[grid])
    ancestors = jnp.where(usable, _place(whole, grid), untouched(size, n_offspring))
    return ancestors, jnp.sum(log_masses, axis=1)


def _pair_per_offspring(n_weights: int, n_offspring: int) -> tuple[int, ...]:
    return (n_offspring, 2)


def _tuples(n_weights: int, n_offspring: int) -> int:
    return n_weights**n_offspring


multinomial = named(
    Scheme("multinomial", _pair_per_offspring, push_multinomial, enumerate_multinomial, _tuples, paired=True)
)
residual = named(Scheme("residual", _pair_per_offspring, push_residual, enumerate_residual, _tuples, paired=True))
