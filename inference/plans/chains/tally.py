"""Tally: what findings need to know of the rows of chains, in numbers that do not grow with the run.

Law: it is the same however the rows are divided, so a run that keeps no row is judged like one that keeps all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...findings.findings import MAP_FAULTS

LOOKED = 256  # rows that are compared at once
BROKEN = "n_nonfinite"
COUNTED = (BROKEN, *(number for _, number, _, _ in MAP_FAULTS))


class Tally(NamedTuple):
    """What was seen of chains so far.

    Attributes:
        rows: rows so far.
        moved: of each chain and value (chain, value), whether it was ever elsewhere than at the start.
        counts: sums of the numbers that count faults.
        place: step and chain of the first proposal whose log density was no number; -1 where there was none.
        at: steps that were done at the state `before`.
        before: the last state that was kept before that proposal; the last one of all where there was none.
    """

    rows: Any
    moved: np.ndarray
    counts: dict[str, Any]
    place: np.ndarray
    at: Any
    before: list[np.ndarray]

    @staticmethod
    def at_start(state: Sequence[Any], names: Sequence[str]) -> Tally:
        """Nothing was seen yet.

        Args:
            state: values of the chains (chain, ...), the log density last.
            names: names of the numbers.
        """
        before = [np.asarray(x) for x in state]
        moved = np.zeros((len(before[-1]), len(before) - 1), bool)
        counts = {name: np.zeros((), np.int64) for name in names if name in COUNTED}
        return Tally(np.zeros((), np.int64), moved, counts, np.full(2, -1), np.zeros((), np.int64), before)

    def plus(
        self, start: Sequence[Any], states: Sequence[Any], numbers: Mapping[str, Any], *, learns: bool = False
    ) -> Tally:
        """Look at further rows.

        Args:
            start: the state at the start of the run.
            states: (row, chain, ...) of each value.
            numbers: (step, chain) by name, several steps a row where draws are thinned.
            learns: whether the kernel is tuned in these steps: it then tries some that are too long.

        >>> state, rows = [np.zeros(2), np.zeros(2)], [np.array([[0.0, 1.0]]), np.zeros((1, 2))]
        >>> Tally.at_start(state, ["n_unmatched"]).plus(state, rows, {"n_unmatched": np.array([[2, 3]])}).counts
        {'n_unmatched': np.int64(5)}
        """
        rows = len(states[0])
        if not rows:
            return self
        told = {name: np.asarray(numbers[name]) for name in self.counts}
        counts = {
            name: self.counts[name] + (0 if learns and name == BROKEN else np.sum(told[name], dtype=np.int64))
            for name in told
        }
        steps = len(next(iter(numbers.values()))) if numbers else rows
        place, at, before = self.place, self.at, self.before
        if place[0] < 0:
            draws = rows
            if counts.get(BROKEN, 0):
                step, chain = np.argwhere(told[BROKEN] > 0)[0][:2]
                place, draws = np.array([int(at) + step, chain]), step // (steps // rows)
            if draws:
                at, before = at + draws * (steps // rows), [np.array(x[draws - 1]) for x in states]
        moved = _moved(self.moved, start[:-1], states[:-1])
        return Tally(self.rows + rows, moved, counts, place, np.asarray(at, np.int64), before)


def _moved(moved: np.ndarray, start: Sequence[Any], states: Sequence[Any]) -> np.ndarray:
    """Find where chains are elsewhere than at the start; a value that is so in all chains is not looked at again."""
    found = moved.copy()
    for place, (first, array) in enumerate(zip(start, states, strict=True)):
        here = np.asarray(first)
        for row in range(0, len(array), LOOKED):
            if found[:, place].all():
                break
            differs = np.asarray(array[row : row + LOOKED]) != here
            found[:, place] |= np.any(differs.reshape(*differs.shape[:2], -1), axis=(0, 2))
    return found
