"""Compensated sum: terms of a loop added up by pairs, with what rounding loses kept beside the total.

Law: in float32 the sum of n terms is right to a rounding of itself and about 1e-12 of the sum of their sizes, where
terms added one by one are off by n / 2 roundings. Its derivative by each term is one. In float64 it is the plain sum.

Reference: Ogita, Rump and Oishi (2005), Accurate sum and dot product.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

BY_PAIRS = "sum_by_pairs"
FEW = 256  # terms, below which a plain sum is good enough


def over_steps(terms: jax.Array) -> jax.Array:
    """Add up terms (n,).

    >>> terms = jnp.tile(jnp.float32([1e8, 1.0, -1e8, 1.0]), 100)
    >>> float(over_steps(terms))
    200.0
    """
    if terms.dtype == jnp.float64 or terms.shape[0] < FEW:
        return jnp.sum(terms)
    return sum_by_pairs(terms)


class Sum(NamedTuple):
    """A compensated sum: `high` holds the rounded total and `low` what rounding lost."""

    high: jax.Array
    low: jax.Array

    @classmethod
    def zero(cls) -> Sum:
        """Return an empty sum."""
        return cls(jnp.zeros((), jnp.result_type(float)), jnp.zeros((), jnp.result_type(float)))

    def add(self, term: jax.Array) -> Sum:
        """Add a term without losing its low bits; infinite totals stay infinite.

        What is lost goes back into the total as soon as it is large enough, so that it is never itself a long sum.
        """
        total, lost = _two_sum(self.high, term.astype(self.high.dtype))
        rest = self.low + lost
        high = total + rest
        return Sum(high, jnp.where(jnp.isfinite(high), rest - (high - total), 0.0))

    def plus(self, other: Sum) -> Sum:
        """Add another sum."""
        total = self.add(other.high)
        return Sum(total.high, total.low + other.low)

    def value(self) -> jax.Array:
        """Return the total."""
        return self.high + self.low


def _two_sum(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Add, and give what rounding loses (Knuth); nothing where the total is infinite."""
    total = a + b
    shifted = total - a
    return total, jnp.where(jnp.isfinite(total), (a - (total - shifted)) + (b - shifted), 0.0)


@jax.custom_jvp
def _by_pairs(terms: jax.Array) -> jax.Array:
    high, low = terms, jnp.zeros_like(terms)
    while high.shape[0] > 1:
        half = high.shape[0] // 2
        a, b, rest = high[:half], high[half : 2 * half], high[2 * half :]
        added, lost = _two_sum(a, b)
        low = jnp.concatenate([low[:half] + low[half : 2 * half] + lost, low[2 * half :]])
        high = jnp.concatenate([added, rest])
    return high[0] + low[0]


@jax.jit
def sum_by_pairs(terms: jax.Array) -> jax.Array:
    """Add up terms (n,), as an operation that is known by its name (`Equation.is_sum_by_pairs`)."""
    return _by_pairs(terms)


@_by_pairs.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    return _by_pairs(*primals), jnp.sum(tangents[0])
