"""Columns: where the variables on one axis of a group of factors stand among all variables with as many states.

Law: `read` gives each factor the values of its variable, and `add` is its transpose: the sum over variables of what was
added times x equals the sum over factors of what was given times `read(x)`. Where the variables form a box of an array,
both are slices; else an index, the sum by one flat scatter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from ..model.structure import Group, Structure


@dataclass(frozen=True)
class Box:
    """Elements start, start + step, ... along each axis of an array that lies in a row of all variables.

    Attributes:
        count: number of all variables.
        offset: number of the first one of the array among them.
        shape: of the array.
        starts: first element on each axis.
        steps: distance of two elements.
        sizes: number of elements on each axis.
    """

    count: int
    offset: int
    shape: tuple[int, ...]
    starts: tuple[int, ...]
    steps: tuple[int, ...]
    sizes: tuple[int, ...]

    def read(self, values: Any) -> Any:
        """Take the elements (K, n) -> (K, *sizes)."""
        own = values if self._whole else values[:, self.offset : self.offset + math.prod(self.shape)]
        where = zip(self.starts, self.steps, self.sizes, strict=True)
        slices = tuple(slice(a, a + (n - 1) * s + 1, s) for a, s, n in where)
        return own.reshape((-1, *self.shape))[(slice(None), *slices)]

    def add(self, values: Any, given: Any) -> Any:
        """Add to the elements (K, n), (K, *sizes) -> (K, n)."""
        where = zip(self.shape, self.starts, self.steps, self.sizes, strict=True)
        pads = [(a, n - a - ((m - 1) * s + 1), s - 1) for n, a, s, m in where]
        spread = _padded(given, pads).reshape((len(given), -1))
        if not self._whole:
            behind = self.count - self.offset - spread.shape[1]
            spread = _padded(spread, [(self.offset, behind, 0)])
        return values + spread

    @property
    def _whole(self) -> bool:
        return math.prod(self.shape) == self.count


@dataclass(frozen=True, eq=False)
class Index:
    """Any variables, by their numbers (G,), which may be traced: as constants, millions of them are slow to compile."""

    count: int
    rows: Any

    def read(self, values: Any) -> Any:
        """Take the elements (K, n) -> (K, G)."""
        return values.at[:, self.rows].get(mode="promise_in_bounds", wrap_negative_indices=False)

    def add(self, values: Any, given: Any) -> Any:
        """Add to the elements (K, n), (K, G) -> (K, n)."""
        card = len(given)
        flat = (np.arange(card, dtype=self.rows.dtype)[:, None] * self.count + self.rows).reshape(-1)
        added = values.reshape(-1).at[flat]
        summed = added.add(given.reshape(-1), mode="promise_in_bounds", wrap_negative_indices=False)
        return summed.reshape((card, self.count))


@runtime_checkable
class Column(Protocol):
    """Where the variables on one axis stand."""

    def read(self, values: Any) -> Any:
        """Take the elements (K, n) -> (K, *shape)."""

    def add(self, values: Any, given: Any) -> Any:
        """Add to the elements (K, n), (K, *shape) -> (K, n)."""


def _padded(values: Any, pads: list[tuple[int, int, int]]) -> Any:
    """Put zeros before, behind and between the elements along all axes but the first."""
    if all(pad == (0, 0, 0) for pad in pads):
        return values
    return jax.lax.pad(values, jnp.zeros((), values.dtype), [(0, 0, 0), *pads])


def boxes_of(structure: Structure, group: Group) -> tuple[Box, ...] | None:
    """Find the columns of a group as boxes of one shape; None where they are not."""
    found: list[Box] = []
    for axis in range(group.arity):
        box = box_of(structure, group.scopes[:, axis])
        if box is None or (found and box.sizes != found[0].sizes):
            return None
        found.append(box)
    return tuple(found)


def box_of(structure: Structure, numbers: np.ndarray) -> Box | None:
    """Recognise a box of one family, its elements in row-major order."""
    if not len(numbers):
        return None
    rows, count = structure.rows, structure.counts[int(structure.cardinalities[numbers[0]])]
    offsets = np.array([family.offset for family in structure.families])
    family = structure.families[int(np.searchsorted(offsets, numbers.min(), side="right")) - 1]
    if numbers.max() >= family.offset + family.size:
        return None
    shape = family.shape or (1,)
    places = np.stack(np.unravel_index(numbers - family.offset, shape))
    starts, steps, sizes = [], [], []
    for along in places:
        values = np.unique(along)
        step = int(values[1] - values[0]) if len(values) > 1 else 1
        if np.any(np.diff(values) != step):
            return None
        starts.append(int(values[0]))
        steps.append(step)
        sizes.append(len(values))
    if math.prod(sizes) != len(numbers):
        return None
    grid = np.indices(sizes).reshape((len(sizes), -1))
    if np.any(places != np.array(starts)[:, None] + grid * np.array(steps)[:, None]):
        return None
    first = int(rows[family.offset])
    return Box(count, first, shape, tuple(starts), tuple(steps), tuple(sizes))
