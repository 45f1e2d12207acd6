"""Repeats: the stretches of a sequence of codes that repeat with a period.

Law: within a repeat, the code at a position equals the code one period later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LONGEST_PERIOD = 256
ENOUGH = 0.9  # a shorter period that saves this share of all codes ends the search


@dataclass(frozen=True)
class Repeat:
    """`steps` copies of `period` codes, from position `start`, and `extra` codes of one more copy."""

    start: int
    period: int
    steps: int
    extra: int = 0

    @property
    def gain(self) -> int:
        """Number of codes that writing one step instead of all saves."""
        return (self.steps - 1) * self.period


def repeats(codes: np.ndarray, least: int) -> list[Repeat]:
    """Find the repeats of at least `least` steps, the largest gain first, and the shortest period among equals.

    >>> repeats(np.array([9, 1, 2, 1, 2, 1, 2, 7]), least=3)
    [Repeat(start=1, period=2, steps=3, extra=0)]
    """
    found: list[Repeat] = []
    for period in range(1, min(LONGEST_PERIOD, len(codes) // least) + 1):
        if any(repeat.gain >= ENOUGH * len(codes) for repeat in found):
            break
        equal = np.concatenate([[False], codes[period:] == codes[:-period], [False]])
        edges = np.flatnonzero(equal[1:] != equal[:-1])
        for start, stop in edges.reshape(-1, 2):
            steps, extra = divmod(int(stop - start) + period, period)
            if steps >= least:
                found.append(Repeat(int(start), period, steps, extra))
    return sorted(found, key=lambda r: (-r.gain, r.period))
