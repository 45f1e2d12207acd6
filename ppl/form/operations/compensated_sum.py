"""Compensated sum: terms of a loop added up with what rounding loses kept beside the total.

Law: in float32 the sum of n terms is right to a rounding of itself and about 1e-12 of the sum of their sizes, where
terms added one by one are off by n / 2 roundings. Its derivative by each term is one. In float64 it is the plain sum.

Reference: Ogita, Rump and Oishi (2005), Accurate sum and dot product.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

COMPENSATED_SUM = "compensated_sum"
FEW = 256  # terms, below which a plain sum is good enough
BLOCK = 1024  # terms whose losses are added up in one go: few enough that their sum loses nothing that matters


def over_steps(terms: jax.Array) -> jax.Array:
    """Add up terms (n,).

    >>> terms = jnp.tile(jnp.float32([1e8, 1.0, -1e8, 1.0]), 100)
    >>> float(over_steps(terms))
    200.0
    """
    if terms.dtype == jnp.float64 or terms.shape[0] < FEW:
        return jnp.sum(terms)
    return compensated_sum(terms)


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
        rest = self.low + jnp.where(jnp.isfinite(total), lost, 0.0)
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
    """Add, and give what rounding loses (Knuth); NaN where the total is infinite."""
    total = a + b
    shifted = total - a
    return total, (a - (total - shifted)) + (b - shifted)


def _merged(one: tuple[jax.Array, jax.Array], other: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Add totals, and what they lost."""
    total, lost = _two_sum(one[0], other[0])
    return total, one[1] + other[1] + lost


@jax.custom_jvp
def _compensated(terms: jax.Array) -> jax.Array:
    parts, zero = (terms, jnp.zeros_like(terms)), jnp.zeros((), terms.dtype)
    while (n := parts[0].shape[-1]) > 1:
        block = min(n, BLOCK)
        rows = -(-n // block)
        total, lost = (jnp.pad(part, (0, rows * block - n)).reshape(rows, block) for part in parts)
        parts = jax.lax.reduce((total, lost), (zero, zero), _merged, (1,))
    total, lost = parts[0][0], parts[1][0]
    return jnp.where(jnp.isfinite(total), total + lost, total)


@jax.jit
def compensated_sum(terms: jax.Array) -> jax.Array:
    """Add up terms (n,), as an operation that is known by its name (`Equation.is_compensated_sum`)."""
    return _compensated(terms)


@_compensated.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    return _compensated(*primals), jnp.sum(tangents[0])
