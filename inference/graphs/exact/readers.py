"""Readers: which shares of the entries of a joint table sum to the marginal of a table that went into it.

Law: a state of the variables of a table has the share of all joint states that agree with it, each counted once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..model.places import NOWHERE, Index, Reading, offsets, strides_of
from .padding import shared_arrays

type Shape = tuple[int, ...]
type Axes = tuple[int, ...]


@dataclass
class Uses:
    """How tables went into joint tables.

    Attributes:
        ways: number of the way of each table, -1 for one without variables.
        bases: place of the joint table among the shares; for a table without variables that of what is possible.
        known: shape of a joint table, axes at which a table enters it, and room for the states that are left to it.
        turns: how the axes of a result stand in the table that it joins; None where they are those.
    """

    ways: list[int] = field(default_factory=list)
    bases: list[int] = field(default_factory=list)
    known: dict[tuple[Shape, Axes, int], int] = field(default_factory=dict)
    turns: dict[Axes | None, int] = field(default_factory=lambda: {None: 0})

    def new(self) -> None:
        """Add a table that was not used yet."""
        self.ways.append(-1)
        self.bases.append(1)

    def use(self, tables: Sequence[int], bases: Sequence[int], shape: Shape, axes: Axes, room: int) -> None:
        """Say how tables go into joint tables of one shape."""
        way = self.known.setdefault((shape, axes, room), len(self.known))
        for table, base in zip(tables, bases, strict=True):
            self.ways[table], self.bases[table] = way, base

    def turn(self, turn: Axes | None) -> int:
        """Number a way to stand."""
        return self.turns.setdefault(turn, len(self.turns))


class Readers:
    """Finds readers when all joint tables have their places."""

    def __init__(self, uses: Uses) -> None:
        """Look the uses up by number."""
        self._ways, self._bases = np.array(uses.ways, np.int64), np.array(uses.bases, np.int64)
        self._known, self._turns = list(uses.known), list(uses.turns)

    def of(self, tables: Sequence[int], turned: Sequence[int], width: int | None = None) -> Reading:
        """Read tables one after the other, or in rows of a width, where what is padded is of no account.

        Args:
            tables: their numbers.
            turned: for each, the number of the way in which its axes are wanted.
            width: of a row.
        """
        ids = np.array(tables, np.int64)
        codes, kind_of = np.unique(self._ways[ids] * len(self._turns) + np.array(turned, np.int64), return_inverse=True)
        steps = [self._steps(*divmod(code, len(self._turns))) for code in codes.tolist()]
        sizes = [(len(near), len(far)) for near, far in steps]
        arrays = shared_arrays(sizes, np.bincount(kind_of, minlength=len(codes)).tolist())
        lengths = np.array([size for size, _ in sizes], np.int64)[kind_of]
        begins = np.arange(len(ids)) * width if width else np.cumsum(lengths) - lengths
        order = np.zeros(len(ids) * width if width else int(lengths.sum()), np.int64)
        blocks, done = [], 0
        for members, (long, terms) in arrays:
            chosen = np.zeros(len(codes), bool)
            chosen[members] = True
            rows = np.flatnonzero(chosen[kind_of])
            long = width if width and len(arrays) == 1 else long
            near = np.full((len(rows), long), NOWHERE)
            far = np.full((len(rows) if len(members) > 1 else 1, terms), NOWHERE)
            for member in members:
                own, (first, second) = np.flatnonzero(kind_of[rows] == member), steps[member]
                near[own, : len(first)] = self._bases[ids[rows[own]], None] + first
                far[own if len(members) > 1 else slice(None), : len(second)] = second
                along = np.arange(len(first))
                order[begins[rows[own], None] + along] = done + own[:, None] * long + along
            blocks.append(Index(near, far))
            done += near.size
        whole = len(arrays) == 1 and (width is not None or bool((lengths == lengths[0]).all()))
        return Reading(tuple(blocks), None if whole else order)

    def _steps(self, way: int, turn: int) -> tuple[np.ndarray, np.ndarray]:
        """Give the places in a joint table of the states of a table, and of the states of all other variables there."""
        if way < 0:
            return offsets([], []), offsets([], [])
        shape, axes, room = self._known[way]
        wanted = self._turns[turn]
        axes = axes if wanted is None else tuple(axes[k] for k in wanted)
        strides, others = [room, *strides_of(shape[1:])], [a for a in range(len(shape)) if a not in axes]
        near, far = (offsets([shape[a] for a in own], [strides[a] for a in own]) for own in (axes, others))
        return near, far
