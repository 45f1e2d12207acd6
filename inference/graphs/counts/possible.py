"""Possible: which value of which member some count allows, told from the zeros of g alone, never from rounding.

Law: member i can be y exactly if a count of finite g can be reached with the others, whose sum runs from the number of
ones known among them to that number plus the number of free ones. So a message is infinite if and only if it should be,
and an underflow shows as a sum of zero where a value is possible.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .tilting import Known, counts_of


class Possible(NamedTuple):
    """Whether each member can be one and zero while the others are as known, and whether the bag is possible at all."""

    one: Bool[Array, "B G"]
    zero: Bool[Array, "B G"]
    bag: Bool[Array, " G"]


def possible(h: Float[Array, "B G"], g: Float[Array, "S G"], members: Known) -> Possible:
    """Look up which counts are allowed at the ends of the reachable range and inside it."""
    s, finite = counts_of(g), g > -jnp.inf
    first, last = members.ones, members.ones + members.free

    def among(low: jax.Array, high: jax.Array) -> jax.Array:
        return jnp.any(finite & (s >= low[None]) & (s <= high[None]), axis=0)

    def by_kind(shift: int) -> jax.Array:
        known_one = among(first - 1 + shift, last - 1 + shift)
        known_zero = among(first + shift, last + shift)
        free = among(first + shift, last - 1 + shift)
        return jnp.where(h == jnp.inf, known_one[None], jnp.where(h == -jnp.inf, known_zero[None], free[None]))

    return Possible(by_kind(1), by_kind(0), among(first, last))
