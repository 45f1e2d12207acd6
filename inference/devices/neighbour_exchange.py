"""Neighbour exchange: the exchange where offspring live on the device of their parent, or not far beyond its borders.

Law: slots are filled as by a gather of the whole population, where `is_near` says so, the same on all devices. That is
the usual case: particles that are spread at random have about as many offspring on one device as on another. Then only
an eighth of a device's particles goes to each neighbour, and no particle is copied more than once on a device.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from ..laws.strata import ancestors_from_ends
from .axis import Axis


def margin(size: int) -> int:
    """Give the number of particles at a border of a device that the neighbour there is told of.

    >>> margin(1 << 18), margin(20), margin(1)
    (32768, 2, 1)
    """
    return max(size // 8, 1)


def is_near(axis: Axis, starts: Int[Array, " M"], ends: Int[Array, " M"]) -> Bool[Array, ""]:
    """Tell whether offspring that live elsewhere live next door, and their parents within the margin.

    `starts` and `ends` are the offspring of all particles before and up to each of this device's.
    """
    size = ends.shape[0]
    most, first = margin(size), axis.index() * size
    inside = (ends[most - 1] >= first) & (starts[size - most] <= first + size)
    return jnp.all(axis.gather(inside[None]))


def fetched(axis: Axis, ends: Int[Array, " M"], values: Any) -> Any:
    """Give this device's slots, from its own particles and those at the near borders of its neighbours.

    `ends` are the offspring of all particles up to each of this device's.
    """
    size = ends.shape[0]
    most, first = margin(size), axis.index() * size
    below, own, above = _window(axis, ends, most)
    # Nobody stands before the first device or after the last: what came round the circle has no offspring here.
    below, above = jnp.where(axis.reaches(1), below, 0), jnp.where(axis.reaches(-1), above, axis.count(ends))
    counts = jnp.clip(jnp.concatenate([below, own, above]) - first, 0, size)
    parents = ancestors_from_ends(counts, size)
    return jax.tree.map(lambda x: jnp.concatenate(_window(axis, x, most))[parents], values)


def _window(axis: Axis, part: jax.Array, most: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    return axis.rotated(part[-most:], 1), part, axis.rotated(part[:most], -1)
