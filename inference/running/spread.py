"""Spread: the state of chains lies on the devices of a mesh, a part of them on each.

Law: where chains lie changes no step; what a checkpoint gives back is spread again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ..devices.mesh import auto, axis_of

__all__ = ["Spread", "spread_on"]

type Spread = Callable[[Sequence[jax.Array], Sequence[bool]], list[jax.Array]]


def spread_on(mesh: Mesh | None) -> Spread:
    """Give a function that spreads arrays along their first axis, those that are of the chains; others stay.

    Args:
        mesh: the devices, all of them of this process; None for one, where all arrays stay.

    >>> spread_on(None)([jax.numpy.zeros(4)], [True])[0].shape
    (4,)
    """
    if mesh is None:
        return lambda arrays, own: list(arrays)
    there = NamedSharding(auto(mesh), PartitionSpec(axis_of(mesh).name))
    return lambda arrays, own: [jax.device_put(x, there) if o else x for x, o in zip(arrays, own, strict=True)]
