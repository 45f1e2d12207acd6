"""Row stacks: the rows that compiled steps leave, in arrays on the device that are used call after call.

Law: the rows that are read are those of the steps that were taken, bit for bit; how many steps a call takes changes
nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

ROOM = 1 << 24  # bytes of rows that one call of the compiled steps may leave: with fewer, calls cost more than copies
LONGEST = 1 << 14  # steps of one call


class Stacks:
    """Arrays on the device that compiled steps write their rows into, one call after the other.

    They are given to a call and come back from it, so that no call makes them anew or sets them to zero. Calls at the
    same time, of several threads, have stacks of their own.
    """

    def __init__(self, shapes: Sequence[tuple[tuple[int, ...], Any]]) -> None:
        """Nothing is made yet; `shapes` are shape and type of each."""
        self.shapes = shapes
        self.free: list[list[jax.Array]] = []

    def taken(self) -> list[jax.Array]:
        """Give stacks for one call, which may write over them."""
        try:
            return self.free.pop()
        except IndexError:
            return [jax.device_put(np.zeros(shape, dtype)) for shape, dtype in self.shapes]

    def read(self, stacks: list[jax.Array], count: int, into: Sequence[np.ndarray]) -> None:
        """Copy the first rows that a call left to the host; the stacks are free again."""
        for stack, rows in zip(stacks, into, strict=True):
            np.copyto(rows, np.asarray(stack)[:count])
        if not self.free:
            self.free.append(stacks)


def in_portion(step: Callable[..., Any], state: Any, count: Any, stacks: Any) -> Any:
    """Take some steps, `step(i, state) -> (state, rows)` for i = 0, ..., count - 1.

    Returns: the state, and the stacks, whose first `count` rows are now those of the steps.
    """

    def body(i: Any, both: Any) -> Any:
        state, rows = step(i, both[0])
        return state, jax.tree.map(lambda stack, row: written(stack, row, i), both[1], rows)

    return jax.lax.fori_loop(jnp.zeros((), jnp.int32), count, body, (state, stacks))


def pieces(steps: int, longest: int) -> list[tuple[int, int]]:
    """Divide steps among calls of at most so many: the first step of each call, and how many it takes.

    >>> pieces(10, 4)
    [(0, 4), (4, 4), (8, 2)]
    """
    return [(done, min(longest, steps - done)) for done in range(0, steps, longest)]


def steps_of_call(row: int, length: int, longest: int | None = None) -> int:
    """Choose how many steps one call of a compiled loop may take, from the bytes of a row and the number of steps.

    >>> steps_of_call(8000, 10**6), steps_of_call(8, 10**6), steps_of_call(8000, 100), steps_of_call(10**9, 100)
    (2048, 16384, 128, 1)
    """
    fits = max(1, min(LONGEST, ROOM // max(row, 1)))
    fits = min(1 << (fits.bit_length() - 1), 1 << max(length - 1, 0).bit_length())
    return fits if longest is None else max(1, min(longest, fits))


def written(stack: jax.Array, row: jax.Array, i: Any) -> jax.Array:
    """Write a row of a stack."""
    return jax.lax.dynamic_update_index_in_dim(stack, row, i, 0)
