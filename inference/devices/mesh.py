"""Mesh: many devices as one axis, and how arrays go onto them and come back.

Law: a value is the same on whichever devices it is; what comes back is read by every process, whoever computed it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lawful.errors import LawfulError

from .axis import BLOCKS, Axis

type Spread = Callable[[Sequence[jax.Array], Sequence[bool]], list[jax.Array]]


def axis_of(mesh: Mesh) -> Axis:
    """Read a mesh of one axis.

    >>> axis_of(jax.make_mesh((1,), ("p",), axis_types=(jax.sharding.AxisType.Auto,)))
    Axis(name='p', size=1)
    """
    if not isinstance(mesh, Mesh) or len(mesh.axis_names) != 1:
        given = f"axes {mesh.axis_names}" if isinstance(mesh, Mesh) else type(mesh).__name__
        raise LawfulError(
            f"mesh: expected a jax.sharding.Mesh of one axis, got {given}. Fix: jax.make_mesh((jax.device_count(),), "
            '("p",), axis_types=(jax.sharding.AxisType.Auto,)).'
        )
    return Axis(mesh.axis_names[0], int(mesh.size))


def auto(mesh: Mesh) -> Mesh:
    """Leave it to the compiler how values lie on the devices, whatever kind of axis the user's mesh has."""
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,))


def placed_on(mesh: Mesh) -> dict[str, Any]:
    """Say what a result tells of its devices: their kind and number."""
    return {"device": mesh.devices.flat[0].platform, "devices": axis_of(mesh).size}


def checked_mesh(mesh: Any, **sizes: int) -> None:
    """Refuse a mesh that does not split every one of some numbers evenly."""
    devices = axis_of(mesh).size
    for name, size in sizes.items():
        if size % devices:
            raise LawfulError(
                f"{name}={size} cannot be spread evenly over {devices} devices. Fix: give a multiple of {devices}.",
                **{name: size}, devices=devices,
            )  # fmt: skip
    if BLOCKS % devices:
        raise LawfulError(
            f"{devices} devices: populations are cut into at most {BLOCKS} blocks, which so many devices do not share "
            "evenly. Fix: a mesh of 2, 3, 4, 5, 6, 8, 10, 12, 15, 16, 20, ... devices.",
            devices=devices,
        )  # fmt: skip


def spread_over(mesh: Mesh, arrays: Sequence[Any]) -> list[jax.Array]:
    """Put arrays onto the devices of a mesh, split along their first axis; every process gives the same numbers."""
    sharding = NamedSharding(auto(mesh), PartitionSpec(axis_of(mesh).name))
    return [_placed(x, sharding) for x in arrays]


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


def replicated(mesh: Mesh, tree: Any) -> Any:
    """Put arrays and keys, the same in every process, onto all devices; one process alone leaves that to JAX."""
    if not mesh.is_multi_process:
        return tree
    sharding = NamedSharding(auto(mesh), PartitionSpec())

    def put(x: Any) -> jax.Array:
        if not jnp.issubdtype(getattr(x, "dtype", float), jax.dtypes.prng_key):
            return _placed(x, sharding)
        words = _placed(jax.random.key_data(x), sharding)
        return jax.random.wrap_key_data(words, impl=str(jax.random.key_impl(x)))

    return jax.tree.map(put, tree)


def _placed(array: Any, sharding: NamedSharding) -> jax.Array:
    whole = np.asarray(array)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def readable(mesh: Mesh, tree: Any) -> Any:
    """Give every process the whole of arrays that devices of several processes hold."""
    if not mesh.is_multi_process:
        return tree
    return jax.jit(lambda x: x, out_shardings=NamedSharding(auto(mesh), PartitionSpec()))(tree)
