"""Stacks: how values of one type are packed along a new first axis, and read again.

Law: row k of a stack is its k-th value, bit for bit. These are the operations that `passes.rolling` writes around a
loop; as classes with equality, so that two of them can be compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..builder import Tupled, add
from .equation import Equation


@dataclass(frozen=True)
class Join:
    """Puts values and rows of stacks one after the other along a new first axis.

    A part is None for one value, and the indices of the rows for a stack.

    >>> Join((None, (2, 0)))(jnp.array(7.0), jnp.array([1.0, 2.0, 3.0]))[0].tolist()
    [7.0, 3.0, 1.0]
    """

    parts: tuple[tuple[int, ...] | None, ...]

    def __call__(self, *values: jax.Array) -> tuple[jax.Array]:
        """Join."""
        pieces = [
            jax.lax.expand_dims(jnp.asarray(value), (0,)) if part is None else rows(value, part)
            for value, part in zip(values, self.parts, strict=True)
        ]
        return (pieces[0] if len(pieces) == 1 else jax.lax.concatenate(pieces, 0),)


def rows(stack: jax.Array, indices: tuple[int, ...]) -> jax.Array:
    """Read rows of a stack: a slice where they follow each other, in either direction, else a gather.

    >>> rows(jnp.arange(4), (2, 1)).tolist(), rows(jnp.arange(4), (3, 0, 3)).tolist()
    ([2, 1], [3, 0, 3])
    """
    first, last, count = indices[0], indices[-1], len(indices)
    if indices == tuple(range(first, first + count)):
        return jax.lax.slice_in_dim(stack, first, last + 1)
    if indices == tuple(range(first, first - count, -1)):
        return jax.lax.rev(jax.lax.slice_in_dim(stack, last, first + 1), (0,))
    return jnp.take(stack, np.asarray(indices, np.int32), axis=0, mode="clip")


@dataclass(frozen=True)
class Row:
    """Reads one row of a stack; as an operation with the index as an operand it is `Pick`."""

    index: int

    def __call__(self, stack: jax.Array) -> tuple[jax.Array]:
        """Read."""
        return (jax.lax.index_in_dim(stack, self.index, keepdims=False),)


@dataclass(frozen=True)
class Cut:
    """Reads a part of a vector as an array of a given shape; with the start as an operand it is a `Window`.

    >>> Cut(1, (2, 1))(jnp.arange(4))[0].tolist()
    [[1], [2]]
    """

    start: int
    shape: tuple[int, ...]

    def __call__(self, vector: jax.Array) -> tuple[jax.Array]:
        """Read."""
        return (jax.lax.slice_in_dim(vector, self.start, self.start + math.prod(self.shape)).reshape(self.shape),)


@dataclass(frozen=True)
class Pick:
    """A row of a stack; which one is an operand."""

    def __call__(self, stack: jax.Array, index: jax.Array) -> tuple[jax.Array]:
        """Read."""
        return (jax.lax.dynamic_index_in_dim(stack, index, keepdims=False),)

    def all(self, stack: jax.Array, starts: np.ndarray) -> jax.Array:
        """Read many rows at once."""
        return rows(stack, tuple(int(i) for i in starts))


@dataclass(frozen=True)
class Window:
    """A slice of fixed sizes, as an array of a given shape; where it starts is an operand."""

    sizes: tuple[int, ...]
    shape: tuple[int, ...]

    def __call__(self, array: jax.Array, starts: jax.Array) -> tuple[jax.Array]:
        """Cut the window out of an array."""
        where = [starts[axis] for axis in range(len(self.sizes))]
        return (jax.lax.dynamic_slice(array, where, self.sizes).reshape(self.shape),)

    def all(self, array: jax.Array, starts: np.ndarray) -> jax.Array:
        """Cut many windows at once: a reshaped slice where they tile a stretch of one axis, else a gather."""
        for axis, size in enumerate(self.sizes):
            across = [i for i in range(array.ndim) if i != axis]
            full = all(self.sizes[i] == array.shape[i] for i in across) and not starts[:, across].any()
            first, count = int(starts[0, axis]), len(starts)
            if full and np.array_equal(starts[:, axis], first + size * np.arange(count)):
                tiles = jax.lax.slice_in_dim(array, first, first + count * size, axis=axis)
                split = (*array.shape[:axis], count, size, *array.shape[axis + 1 :])
                return jnp.moveaxis(tiles.reshape(split), axis, 0).reshape((count, *self.shape))
        return jax.vmap(self, (None, 0))(array, jnp.asarray(starts))[0]


@dataclass(frozen=True)
class Windows:
    """Cuts all windows of the steps of a loop before the loop; the starts are known."""

    window: Pick | Window
    starts: tuple[tuple[int, ...], ...] | tuple[int, ...]

    def __call__(self, array: jax.Array) -> tuple[jax.Array]:
        """Cut."""
        return (self.window.all(array, np.asarray(self.starts, np.int32)),)


@dataclass(frozen=True)
class Flatten:
    """Concatenates the rows of a stack along one of their axes.

    >>> Flatten(0)(jnp.array([[1, 2], [3, 4]]))[0].tolist()
    [1, 2, 3, 4]
    """

    axis: int

    def __call__(self, stack: jax.Array) -> tuple[jax.Array]:
        """Concatenate."""
        shape = [n * stack.shape[0] if axis == self.axis else n for axis, n in enumerate(stack.shape[1:])]
        return (jnp.moveaxis(stack, 0, self.axis).reshape(shape),)


@dataclass(frozen=True)
class Lay:
    """Moves the rows of a stack to another axis."""

    axis: int

    def __call__(self, stack: jax.Array) -> tuple[jax.Array]:
        """Move."""
        return (jnp.moveaxis(stack, 0, self.axis),)


def _total(stack: jax.Array) -> jax.Array:
    return jnp.sum(stack, axis=0, dtype=stack.dtype)


TOTAL = Tupled(_total)  # the sum of the rows of a stack, in its own type


def opened(function: Any) -> tuple[Any, dict[int, np.ndarray]]:
    """Give an operation with the numbers that the program wrote as operands, and these, by their positions.

    Where a slice starts is such a number, after its array.
    """
    if isinstance(function, Equation):
        held = {i: np.asarray(*literal) for i, literal in enumerate(function.literals) if literal is not None}
        if held:
            return function.bare, held
        if function.name != "slice" or function.params["strides"] is not None or not function.literals:
            return function, {}
        starts = np.asarray(function.params["start_indices"], np.int32)
        sizes = tuple((np.asarray(function.params["limit_indices"]) - starts).tolist())
        return Window(sizes, sizes), {1: starts}
    if isinstance(function, Row):
        return Pick(), {1: np.asarray(function.index, np.int32)}
    if isinstance(function, Cut):
        return Window((math.prod(function.shape),), function.shape), {1: np.asarray([function.start], np.int32)}
    return function, {}


def of_a_stack(function: Any) -> Any:
    """Give the operation on the stack of its operands that does what a sum, a concatenation or a stacking does to them.

    None for all others.
    """
    if isinstance(function, Tupled) and function.function is add:
        return TOTAL
    if isinstance(function, Join) and set(function.parts) == {None}:
        return Join((tuple(range(len(function.parts))),))
    if not isinstance(function, Equation) or any(held is not None for held in function.literals):
        return None
    if function.name == "concatenate":
        return Flatten(*function.axes)
    return Lay(*function.axes) if function.name == "stack" else None
