"""Array places: gather and scatter of XLA on concrete arrays, by NumPy.

Law: every index of the operand that a window reads or writes is computed as XLA's definition says: a start for each
place of the batch, and offsets inside the window. Windows that leave the operand are none of NumPy's.

Reference: OpenXLA, Operation semantics, Gather and Scatter.
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
    beside: dict[int, int],
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
