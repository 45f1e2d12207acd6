"""Labels: values of dimensions that a program and its arguments know.

Law: a label belongs to the dimension of its name, and only where the lengths are equal; no number changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from .arguments.arrays import is_array
from .nodes import Form, walk


def labels_of(form: Any, args: tuple[Any, ...] | None) -> dict[str, np.ndarray]:
    """Collect the labels of plates (`plate(name, size, coords=)`) and of arguments.

    An array of xarray labels the dimensions that it names; a series or frame of pandas, the one that its index is named
    after. What the program says goes before what its arguments say.

    >>> import pandas
    >>> labels_of(None, (pandas.Series([1.0, 2.0], index=pandas.Index(["a", "b"], name="school")),))["school"].tolist()
    ['a', 'b']
    """
    found: dict[str, np.ndarray] = {}
    for node in walk(form) if isinstance(form, Form) else ():
        for frame in getattr(node, "frames", ()):
            if frame.coords is not None:
                found.setdefault(frame.name, np.asarray(frame.coords))
    for leaf in jax.tree.leaves(args):
        if is_array(leaf):
            for name, values in _named(leaf):
                found.setdefault(name, values)
    texts = {name for name, v in found.items() if v.dtype == object and all(isinstance(x, str) for x in v)}
    return {name: v.astype(str) if name in texts else v for name, v in found.items()}  # files hold no objects


def fitting(
    labels: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], dims: Mapping[str, tuple[str, ...]]
) -> dict[str, np.ndarray]:
    """Keep the labels of dimensions that exist and have their length.

    Args:
        labels: values by dimension.
        shapes: shapes of variables, without chain and draw.
        dims: names of their axes.

    >>> list(fitting({"row": np.arange(3), "col": np.arange(2)}, {"x": (3, 4)}, {"x": ("row", "col")}))
    ['row']
    """
    sizes: dict[str, set[int]] = {}
    for name, shape in shapes.items():
        for axis, size in zip(dims.get(name, ()), shape, strict=False):
            sizes.setdefault(axis, set()).add(size)
    return {name: values for name, values in labels.items() if sizes.get(name) == {len(values)}}


def _named(leaf: Any) -> Iterator[tuple[str, np.ndarray]]:
    if hasattr(leaf, "dims") and hasattr(leaf, "coords"):
        for dim in leaf.dims:
            if dim in leaf.coords:
                yield str(dim), np.asarray(leaf.coords[dim].values)
    for axis in ("index", "columns"):
        labels: Any = getattr(leaf, axis, None)
        if getattr(labels, "name", None) is not None and hasattr(labels, "to_numpy"):
            yield str(labels.name), labels.to_numpy()
