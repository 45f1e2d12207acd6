"""Sums of many terms, by pairs, with what rounding took kept beside the total.

Law: high + low is the sum to about the square of the precision: low holds the rounding errors of all additions (Knuth's
two-sum), themselves added up. A term of minus infinity makes the total minus infinity, never NaN.

Reference: Ogita, Rump and Oishi (2005), Accurate sum and dot product.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Total(NamedTuple):
    """A sum in two parts: the rounded total, and the remainder that it lacks."""

    high: Float[Array, ""]
    low: Float[Array, ""]


def total(terms: Float[Array, " N"]) -> Total:
    """Add up terms of any magnitudes.

    >>> total(jnp.float32([1e8, 1.0, -1e8, 1.0])).high.item()
    2.0
    >>> total(jnp.array([1.0, -jnp.inf])).high.item()
    -inf
    """
    high, low = terms, jnp.zeros_like(terms)
    while high.shape[0] > 1:
        even = high.shape[0] // 2 * 2
        a, b = high[0:even:2], high[1:even:2]
        added = a + b
        shifted = added - a
        lost = (a - (added - shifted)) + (b - shifted)
        lost = low[0:even:2] + low[1:even:2] + jnp.where(jnp.isfinite(added), lost, 0)
        high = jnp.concatenate([added, high[even:]])
        low = jnp.concatenate([lost, low[even:]])
    if not high.shape[0]:
        return Total(jnp.zeros((), terms.dtype), jnp.zeros((), terms.dtype))
    rounded = high[0] + low[0]
    return Total(rounded, jnp.where(jnp.isfinite(rounded), (high[0] - rounded) + low[0], 0))
