"""Grouped: groups of arrays by name as a tree, with names of axes and values of dimensions.

Law: every number is kept; a dimension has one length.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from lawful.errors import LawfulError
from lawful.late import arviz_base, xarray

UNNAMED = re.compile(r"time\d*|.*_dim_\d+")  # how the steps of loops, and axes without a name, are called


def groups_tree(
    groups: Mapping[str, Mapping[str, Any]],
    dims: Mapping[Any, Sequence[Any]],
    coords: Mapping[str, Any],
    *,
    save_warmup: bool = False,
) -> xarray.DataTree:
    """Convert groups of arrays; a constant that is named like a dimension is left out, as no dataset can hold it.

    Raises: LawfulError where a dimension has two lengths.
    """
    axes = {axis for names in dims.values() for axis in names} | set(coords)
    arrays = {name: on_host(group) for name, group in groups.items() if not isinstance(group, xarray.Dataset)}
    for name in {"constant_data", "predictions_constant_data"} & set(arrays):
        arrays[name] = {n: a for n, a in arrays[name].items() if n not in axes}
    refuse_two_lengths(arrays, dims, coords)
    named, values = listed(dims), dict(coords)
    tree = arviz_base.from_dict(
        arrays, dims=named, coords=values, pred_dims=named, pred_coords=values, save_warmup=save_warmup
    )
    for name, group in groups.items():
        if isinstance(group, xarray.Dataset):  # as a file gave it
            tree[name] = xarray.DataTree(group)
    return tree


def refuse_two_lengths(
    groups: Mapping[str, Mapping[str, np.ndarray]], dims: Mapping[Any, Sequence[Any]], coords: Mapping[str, Any]
) -> None:
    """Refuse a dimension of two lengths; steps of loops, and axes that nobody named, may differ from group to group."""
    whole: dict[str, tuple[int, str]] = {name: (len(values), "its coords") for name, values in coords.items()}
    for group, arrays in groups.items():
        seen = dict(whole)
        for name, array in arrays.items():
            shape = array.shape[0 if "data" in group else 2 :]
            axes = dims.get(name, ())[: len(shape)]
            for axis, size in zip(axes, shape[: len(axes)], strict=True):
                length, where = seen.setdefault(axis, (size, f"'{name}'"))
                if length != size:
                    raise LawfulError(
                        f"dimension '{axis}' has {length} elements at {where} and {size} at '{name}'. Fix: give two "
                        f"plates two names, or name an axis apart by to_datatree(dims={{'{name}': [...]}}).",
                        dimension=axis,
                        sizes=(length, size),
                    )
        whole |= {axis: found for axis, found in seen.items() if not UNNAMED.fullmatch(axis)}


def listed(dims: Mapping[Any, Sequence[Any]]) -> dict[Hashable, Sequence[Hashable]]:
    """Give names of axes in lists, as ArviZ takes them."""
    return {name: list(axes) for name, axes in dims.items()}


def on_host(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Move arrays to the host."""
    return {name: np.asarray(array) for name, array in arrays.items()}
