"""Slice operations: read and write one slice of an array, at indices that are operands.

Law: `Put` writes where `Take` reads. Leading axes that are indexed drop out; the others keep one element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

type Shape = tuple[int, ...]


@dataclass(frozen=True)
class Take:
    """Read a slice: the leading axes at the first indices, which drop out, then one element of each further axis.

    Under `jax.vmap` with indices that all lanes share it stays one slice of the array of all lanes, not a gather.
    """

    drop: int
    axes: tuple[int, ...]
    lanes: int = 0

    def __call__(self, array: Any, *indices: Any) -> Any:
        """Slice an array, behind its lanes; indices are in range."""
        return _for_all_lanes(self, self.plain)(array, *indices)

    def plain(self, array: Any, *indices: Any) -> Any:
        """Slice an array."""
        starts, sizes = self.place(array.shape, indices)
        taken = jax.lax.dynamic_slice(array, starts, sizes)
        # Read once, before anything is written: else the slices are read again by all that use them, and a write in
        # place finds the array still in use and copies it.
        taken = jax.lax.optimization_barrier(taken)
        return taken.reshape((*sizes[: self.lanes], *sizes[self.lanes + self.drop :]))

    def place(self, shape: Shape, indices: Sequence[Any]) -> tuple[list[Any], list[int]]:
        """Give the starts and the sizes of the slice of an array."""
        first = self.lanes + self.drop
        where = dict(zip((*range(self.lanes, first), *(first + a for a in self.axes)), indices, strict=True))
        zero = jnp.zeros((), jnp.int32)
        starts = [jnp.asarray(where[i], jnp.int32) if i in where else zero for i in range(len(shape))]
        return starts, [1 if i in where else n for i, n in enumerate(shape)]


@dataclass(frozen=True)
class Put:
    """Write a slice where `Take` reads it; under `jax.vmap` with shared indices it stays one update in place."""

    drop: int
    axes: tuple[int, ...]
    lanes: int = 0

    def __call__(self, array: Any, part: Any, *indices: Any) -> Any:
        """Give the array with the slice in its place."""
        return _for_all_lanes(self, self.plain)(array, part, *indices)

    def plain(self, array: Any, part: Any, *indices: Any) -> Any:
        """Write a slice."""
        starts, sizes = Take(self.drop, self.axes, self.lanes).place(array.shape, indices)
        # Written once: else a later read computes the write again, of the array as it was, which then must be copied.
        return jax.lax.optimization_barrier(jax.lax.dynamic_update_slice(array, part.reshape(sizes), starts))


def _for_all_lanes(operation: Take | Put, plain: Callable[..., Any]) -> Callable[..., Any]:
    """Give an operation a batching rule: lanes of the arrays become leading axes, where the indices have none."""
    arrays = 1 if isinstance(operation, Take) else 2
    function = jax.custom_batching.custom_vmap(plain)

    @function.def_vmap
    def rule(size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, bool]:
        if any(batched[arrays:]):
            return jax.vmap(plain, tuple(0 if b else None for b in batched), axis_size=size)(*operands), True
        wide = [
            x if b else jnp.broadcast_to(x, (size, *x.shape))
            for x, b in zip(operands[:arrays], batched[:arrays], strict=True)
        ]
        return replace(operation, lanes=operation.lanes + 1)(*wide, *operands[arrays:]), True

    return function
