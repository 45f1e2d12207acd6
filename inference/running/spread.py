"""Spread: the state of chains lies on the devices of a mesh, a part of them on each.

Law: where chains lie changes no step; what a checkpoint gives back is spread again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ..sharding.mesh import spread_over

__all__ = ["spread_on"]


def spread_on(mesh: Mesh | None, chains: int) -> Callable[[Any], Any]:
    """Give a function that spreads a state along its first axis.

    Args:
        mesh: the devices, all of them of this process; None for one, where a state stays as it is.
        chains: how many chains; arrays with so many rows are those of the chains.
    """
    if mesh is None:
        return lambda state: state

    def put(leaf: Any) -> Any:
        own = jnp.ndim(leaf) and len(leaf) == chains and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        there = isinstance(leaf, jax.Array) and len(leaf.sharding.device_set) == mesh.size
        return spread_over(mesh, [leaf])[0] if own and not there else leaf

    return lambda state: jax.tree.map(put, state)
