"""NumPy rules: what single operations of JAX mean on concrete arrays, by NumPy.

Law: a rule gives what the operation gives when compiled, to rounding, or `NotImplemented` where NumPy means another
thing. NumPy's warnings are off where rules run. A rule is asked `(operands, params)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def gather(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    """Read windows of an array."""
    array, index = operands
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    beside = dict(zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True))
    where = _where(array.shape, index, numbers.start_index_map, beside, sizes, params["mode"])
    if where is None:
        return NotImplemented
    gone = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    batch = index.ndim - 1
    taken = array[where].reshape((*index.shape[:-1], *(s for d, s in enumerate(sizes) if d not in gone)))
    offsets = tuple(numbers.offset_dims)
    order = iter(range(batch)), iter(range(batch, taken.ndim))
    return np.transpose(taken, [next(order[axis in offsets]) for axis in range(taken.ndim)])


def scatter(write: Callable[[np.ndarray, Any, np.ndarray], None]) -> Callable[..., Any]:
    """Make the rule that writes windows: `write(array, where, updates)`, places that are met twice included."""

    def rule(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
        array, index, updates = operands
        numbers = params["dimension_numbers"]
        beside = dict(zip(numbers.operand_batching_dims, numbers.scatter_indices_batching_dims, strict=True))
        gone = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
        inside = tuple(numbers.update_window_dims)
        own = iter(updates.shape[axis] for axis in inside)
        sizes = [1 if d in gone else next(own) for d in range(array.ndim)]
        where = _where(array.shape, index, numbers.scatter_dims_to_operand_dims, beside, sizes, params["mode"])
        if where is None:
            return NotImplemented
        rest = [axis for axis in range(updates.ndim) if axis not in inside]
        moved = np.transpose(updates, (*rest, *inside)).reshape((*index.shape[:-1], *sizes))
        found = array.copy()
        write(found, where, moved)
        return found

    return rule


def _where(
    shape: tuple[int, ...],
    index: np.ndarray,
    mapped: Sequence[Any],
    beside: dict[int, Any],
    sizes: Sequence[int],
    mode: Any,
) -> tuple[np.ndarray, ...] | None:
    """Index an array by the windows (*batch, *sizes), an array of places for each axis; None where one leaves it."""
    batch, rank = index.shape[:-1], len(shape)
    found = []
    for axis, (length, size) in enumerate(zip(shape, sizes, strict=True)):
        first = np.zeros(batch, np.int64)
        if axis in beside:
            along = [-1 if k == beside[axis] else 1 for k in range(len(batch))]
            first = first + np.arange(batch[beside[axis]]).reshape(along)
        elif axis in mapped:
            first = index[..., tuple(mapped).index(axis)].astype(np.int64)
        last = length - size
        if first.size and (first.min() < 0 or first.max() > last):
            if "CLIP" not in str(mode):
                return None
            first = np.clip(first, 0, last)
        offsets = np.arange(size).reshape([-1 if k == axis else 1 for k in range(rank)])
        found.append(first.reshape((*batch, *[1] * rank)) + offsets)
    return tuple(found)


def div(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    """Divide; whole numbers towards zero."""
    above, below = operands
    if np.issubdtype(above.dtype, np.floating):
        return above / below
    if not np.issubdtype(above.dtype, np.integer) or not np.all(below):
        return NotImplemented
    towards_zero = (above % below != 0) & ((above < 0) != (below < 0))
    return above // below + towards_zero.astype(above.dtype)


def convert(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    """Change the type."""
    try:
        return operands[0].astype(np.dtype(params["new_dtype"]), copy=False)
    except TypeError:
        return NotImplemented


def select(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    """Choose by element."""
    which, *cases = operands
    if which.dtype == bool and len(cases) == 2:
        return np.where(which, cases[1], cases[0])
    return np.choose(np.broadcast_to(which, cases[0].shape), cases)


def reduction(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Make the rule of a reduction along axes."""

    def rule(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
        if operands[0].size == 0 and operation is not np.sum:
            return NotImplemented
        axes = tuple(params["axes"])
        return np.asarray(operation(operands[0], axis=axes)).astype(operands[0].dtype) if axes else operands[0]

    return rule


def broadcast(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    """Repeat along axes."""
    if len(operands) != 1:
        return NotImplemented
    (array,) = operands
    if type(array) is np.ndarray and not array.ndim:  # most are numbers, for which NumPy's own function is slow
        return np.ndarray(params["shape"], array.dtype, array, strides=(0,) * len(params["shape"]))
    shape = [1] * len(params["shape"])
    for axis, size in zip(params["broadcast_dimensions"], array.shape, strict=True):
        shape[axis] = size
    return np.broadcast_to(array.reshape(shape), params["shape"])


def dynamic_slice(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    """Read a window, inside the array."""
    array, *starts = operands
    sizes = params["slice_sizes"]
    if len(starts) != array.ndim:
        return NotImplemented
    first = [int(np.clip(s, 0, n - k)) for s, n, k in zip(starts, array.shape, sizes, strict=True)]
    return array[tuple(slice(f, f + k) for f, k in zip(first, sizes, strict=True))]


def iota(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    """Count along an axis."""
    shape, axis = params["shape"], params["dimension"]
    index = np.arange(shape[axis], dtype=np.dtype(params["dtype"]))
    return np.broadcast_to(index.reshape([-1 if a == axis else 1 for a in range(len(shape))]), shape)


def sliced(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    """Read a part."""
    strides = params["strides"] or (1,) * operands[0].ndim
    bounds = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return operands[0][tuple(slice(*b) for b in bounds)]


def pad(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    """Fill in around."""
    array, value = operands
    if any(low < 0 or high < 0 or inner for low, high, inner in params["padding_config"]):
        return NotImplemented
    return np.pad(array, [(low, high) for low, high, _ in params["padding_config"]], constant_values=value)


def dot_general(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    """Multiply arrays: sum over pairs of axes; pairs side by side come first in the result."""
    left, right = operands
    (summed, others), (beside, along) = params["dimension_numbers"]
    kind = params["preferred_element_type"] or left.dtype
    if not left.dtype == right.dtype == kind or left.dtype.kind not in "iuf":
        return NotImplemented
    names = list(range(left.ndim)), list(range(left.ndim, left.ndim + right.ndim))
    for one, other in zip((*summed, *beside), (*others, *along), strict=True):
        names[1][other] = one
    own = [
        [n for k, n in enumerate(names[0]) if k not in (*summed, *beside)],
        [n for k, n in enumerate(names[1]) if k not in (*others, *along)],
    ]
    return np.asarray(np.einsum(left, names[0], right, names[1], [*beside, *own[0], *own[1]], optimize=True))


def sort(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    """Sort by the first of several keys."""
    axis = params["dimension"]
    order = np.lexsort(operands[: params["num_keys"]][::-1], axis=axis)
    return [np.take_along_axis(x, order, axis=axis) for x in operands]
