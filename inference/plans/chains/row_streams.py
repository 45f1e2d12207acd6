"""Row streams: rows of chains on their way into a store, piece by piece, while the run goes on.

Law: a row stands at one place of one piece, and is converted there, so that it has the same bits whichever chunk it
came in. Memory holds a piece and no more. What the disk does not take stays in memory, with one warning.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...checkpoints.draws_store import Store
from ...checkpoints.stored_array import StoredArray
from ...findings.findings import Finding
from ...results.datatree.statistics import by_component
from ...results.record import Warmup
from ...running.course import Phase
from ...running.saving import SHARE
from .chain_result import Tally

PREFIXES = "warmup_", ""  # of the groups of warm-up and draws

type Rows = Sequence[np.ndarray]
type Names = dict[str, tuple[str, str]]  # name of an array to its group and its name there


class Stream:
    """Writes the rows of one run.

    Args:
        store: where to.
        phases: warm-up and draws.
        piece: rows of a piece.
        names: of each phase, where its draws and numbers stand in the store.
        shown: gives rows of a phase as the result has them, `(phase, rows) -> Warmup`.
        counted: looks at rows for findings, `(tally, phase, rows) -> tally`.
        tally: what was seen so far.
    """

    def __init__(
        self, store: Store, phases: Sequence[Phase], piece: int, names: Sequence[tuple[Names, Names]],
        shown: Callable[[int, Rows], Warmup],
        counted: Callable[[Tally, int, Rows], Tally], tally: Tally,
    ) -> None:  # fmt: skip
        """Nothing is written yet."""
        self.store, self.phases, self.piece, self.names = store, phases, piece, names
        self.shown, self.counted, self.tally = shown, counted, tally
        self.last: list[np.ndarray] = []  # the last row
        self.taken = [0] * len(phases)  # rows that came
        self.given = [0] * len(phases)  # rows that went on, to the store or to memory
        self.stored = [0] * len(phases)  # rows that are in the store
        self.held: list[list[Warmup]] = [[] for _ in phases]  # what the disk did not take
        self.found: tuple[Finding, ...] = ()
        self._blocks: dict[int, list[np.ndarray]] = {}
        self._cost, self._at = 0.0, -float("inf")

    @property
    def lost(self) -> bool:
        """Whether the store failed, so that rows are in memory alone."""
        return bool(self.found)

    def goes_on(self, done: Sequence[int], tally: Tally) -> None:
        """Go on from where a run was; what the store holds beyond that is written again."""
        self.taken, self.given, self.stored, self.tally = list(done), list(done), list(done), tally

    def take(self, number: int, start: int, rows: Rows) -> None:
        """Take the rows of some steps of a phase; whole pieces are written, others as often as costs little."""
        phase = self.phases[number]
        self.tally = self.counted(self.tally, number, rows)
        self.last = [np.array(x[-1]) for x in rows]
        at, stop = start, start + len(rows[0]) // phase.rows[0].per_step
        while at < stop:
            first = at % self.piece
            count = min(stop - at, self.piece - first)
            for row, array, new in zip(phase.rows, self._block(number), rows, strict=True):
                own = new[(at - start) * row.per_step :][: count * row.per_step]
                array[first * row.per_step :][: count * row.per_step] = own
            at += count
            self.taken[number] = at
            if at % self.piece == 0 or at == phase.total:
                self._give(number)
        if time.monotonic() - self._at >= SHARE * self._cost:
            self.flush()

    def flush(self) -> bool:
        """Write what waits; gives whether the store has all rows."""
        for number in range(len(self.phases)):
            self._give(number)
        return not self.lost

    def part(self, number: int) -> Warmup:
        """Give draws and numbers of a phase so far: read from the store when used, or in memory where it failed."""
        self.flush()
        held, stored = self.held[number], self.stored[number]

        def array(place: int, name: str, group: str, own: str) -> Any:
            first = StoredArray(self.store.path, group, own, stored)
            return first if not held else np.concatenate([first, *(part[place][name] for part in held)], axis=1)

        return Warmup(*(
            {name: array(place, name, *where) for name, where in names.items()}
            for place, names in enumerate(self.names[number])
        ))  # fmt: skip

    def _give(self, number: int) -> None:
        """Convert the rows that wait, and write them or hold them."""
        first, stop = self.given[number], self.taken[number]
        if first == stop:
            return
        start, base = time.monotonic(), first - first % self.piece
        whole = self.shown(number, self._block(number))
        part = Warmup(*({name: x[:, first - base : stop - base] for name, x in kind.items()} for kind in whole))
        self.given[number] = stop
        if not self.lost:
            try:
                self._write(number, first, part)
                self.store.finish(stop)
                self.stored[number] = stop
            except OSError as error:
                self.found = (self._fail(number, first, error),)
        if self.lost:
            self.held[number].append(Warmup(*({name: np.array(x) for name, x in kind.items()} for kind in part)))
        self._at = time.monotonic()
        self._cost = self._at - start

    def _write(self, number: int, first: int, part: Warmup) -> None:
        rows: dict[str, dict[str, np.ndarray]] = {}
        for names, kind in zip(self.names[number], part, strict=True):
            for name, (group, own) in names.items():
                rows.setdefault(group, {})[own] = kind[name]
        for group, own_rows in rows.items():
            self.store.write(group, first, own_rows)

    def _fail(self, number: int, first: int, error: OSError) -> Finding:
        name = self.phases[number].name
        message = (
            f"{self.store.path}: draws could not be written ({error}); the store has the first {first} of the {name}. "
            "The run goes on in memory."
        )
        warnings.warn(message, stacklevel=2)
        return Finding("NOT_SAVED", message)

    def _block(self, number: int) -> list[np.ndarray]:
        """Give the piece at hand of a phase; that of the phase before is not needed any more."""
        if number not in self._blocks:
            self._blocks = {number: [np.zeros_like(x) for x in self.phases[number].room(self.piece)]}
        return self._blocks[number]


def names_of(prefix: str, posterior: Mapping[str, Any], stats: Mapping[str, Any]) -> tuple[Names, Names]:
    """Say in which group, and under which name there, draws and numbers stand.

    >>> names_of("", {"x": 0}, {"lp": 0, "accepted@0_mh": 0})[1]
    {'lp': ('sample_stats', 'lp'), 'accepted@0_mh': ('sample_stats_0_mh', 'accepted')}
    """
    draws = {name: (f"{prefix}posterior", name) for name in posterior}
    numbers = {}
    for name in stats:
        ((group, own),) = by_component(f"{prefix}sample_stats", {name: 0}).items()
        numbers[name] = group, next(iter(own))
    return draws, numbers
