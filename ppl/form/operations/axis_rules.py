"""Axis rules: which part of its operands an operation reads, to give one slice of its result.

Law: an operation made smaller gives, on the slices that are read, exactly the slice of what it gives on the whole.
A slice keeps its axis, with one element. A rule is asked `(params, shapes of the operands, shape of the result, axis)`
and says, for each operand, along which axis element i of the result's axis reads element i alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

type Shape = tuple[int, ...]
type Axes = tuple[int | None, ...]  # for each operand the axis of which one element is read; None: read whole
type Rule = Callable[[Any, Sequence[Shape], Shape, int], Axes | None]  # None: nothing is known


def elementwise(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    """Read of each operand the same element; numbers, and axes of size one, are read whole."""
    if any(
        s and (len(s) != len(shape) or any(d not in (1, n) for d, n in zip(s, shape, strict=True))) for s in operands
    ):
        return None
    return tuple(axis if s and s[axis] == shape[axis] else None for s in operands)


def broadcast(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    """Follow the axes of the operand; those that are repeated are read whole."""
    if len(operands) != 1:
        return None
    own = list(params["broadcast_dimensions"])
    if axis not in own:
        return (None,)
    source = own.index(axis)
    return (source if operands[0][source] == shape[axis] and shape[axis] != 1 else None,)


def reshape(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    """Follow the axes that keep their size and what stands before them."""
    if params.get("dimensions") is not None or len(operands) != 1:
        return None
    before, size = math.prod(shape[:axis]), shape[axis]
    for source, n in enumerate(operands[0]):
        if n == size and math.prod(operands[0][:source]) == before:
            return (source,)
    return None


def axes_of(params: Any, name: str) -> tuple[int, ...]:
    """Read a parameter that says one axis, or several."""
    found = params[name]
    return tuple(map(int, found)) if isinstance(found, tuple | list) else (int(found),)


def dropping(name: str) -> Rule:
    """Make the rule of an operation that drops axes; the parameter of a given name says which."""

    def rule(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
        gone = axes_of(params, name)
        return ([d for d in range(len(operands[0])) if d not in gone][axis],)

    return rule


def along(name: str) -> Rule:
    """Make the rule of an operation along axes that stay; the parameter of a given name says which."""

    def rule(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
        return None if axis in axes_of(params, name) else (axis,) * len(operands)

    return rule


def stack(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    """Follow the axes around the new one."""
    return None if params["axis"] == axis else (axis - (axis > params["axis"]),) * len(operands)


def by_matrices(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    """Follow the axes in front of those of the matrices, which stand last."""
    return (axis,) * len(operands) if axis < len(shape) - 2 else None


def window(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    """Follow the axes that are read from end to end; where the others begin is read whole."""
    return (axis, *[None] * (len(operands) - 1)) if shape[axis] == operands[0][axis] else None


def sliced(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    """Follow the axes that stay whole."""
    step = 1 if params["strides"] is None else params["strides"][axis]
    return (axis,) if shape[axis] == operands[0][axis] and step == 1 else None


def dot_general(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    """Follow the axes over which nothing is summed."""
    (left_sum, right_sum), (left_batch, right_batch) = params["dimension_numbers"]
    left = [d for d in range(len(operands[0])) if d not in (*left_sum, *left_batch)]
    right = [d for d in range(len(operands[1])) if d not in (*right_sum, *right_batch)]
    pairs = [*zip(left_batch, right_batch, strict=True), *((d, None) for d in left), *((None, d) for d in right)]
    return pairs[axis]


def gather(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    """Follow the axes of the index, and those that are read from end to end."""
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    batching = tuple(getattr(numbers, "operand_batching_dims", ()))
    index_batching = tuple(getattr(numbers, "start_indices_batching_dims", ()))
    if axis not in numbers.offset_dims:
        batch = [d for d in range(len(shape)) if d not in numbers.offset_dims].index(axis)
        return (batching[index_batching.index(batch)] if batch in index_batching else None, batch)
    kept = [d for d in range(len(operands[0])) if d not in (*numbers.collapsed_slice_dims, *batching)]
    window = kept[sorted(numbers.offset_dims).index(axis)]
    return (window, None) if sizes[window] == operands[0][window] else None
