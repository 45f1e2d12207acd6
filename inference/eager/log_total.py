"""A total of masses in logs that come and go.

Law: the total is that of the masses which are there, to rounding, whatever was there before: partial sums stand in a
binary tree and are added again where a mass changes, so that none is ever taken away from a sum.
"""

from __future__ import annotations

import math


class LogTotal:
    """The log of a sum of masses.

    >>> total = LogTotal()
    >>> place = total.add(0.0)
    >>> _ = total.add(math.log(1e-20))
    >>> total.drop(place)
    >>> round(math.exp(total.log) / 1e-20, 12)
    1.0
    """

    def __init__(self) -> None:
        self.sums = [-math.inf, -math.inf]  # the sums at 2 n and 2 n + 1 make that at n; the second half are the masses
        self.free = [0]

    @property
    def log(self) -> float:
        """Log of the total; -inf where nothing is there."""
        return self.sums[1]

    def add(self, log_mass: float) -> int:
        """Add a mass, and return its place."""
        if not self.free:
            self._double()
        place = self.free.pop()
        self._put(place, log_mass)
        return place

    def drop(self, place: int) -> None:
        """Take a mass away, and let its place be used again."""
        self._put(place, -math.inf)
        self.free.append(place)

    def _put(self, place: int, log_mass: float) -> None:
        at = len(self.sums) // 2 + place
        self.sums[at] = log_mass
        while at > 1:
            at //= 2
            self.sums[at] = _log_add(self.sums[2 * at], self.sums[2 * at + 1])

    def _double(self) -> None:
        masses = self.sums[len(self.sums) // 2 :]
        size = len(masses)
        self.free = list(range(2 * size - 1, size - 1, -1))
        self.sums = [-math.inf] * (2 * size) + masses + [-math.inf] * size
        for at in range(2 * size - 1, 0, -1):
            self.sums[at] = _log_add(self.sums[2 * at], self.sums[2 * at + 1])


def _log_add(first: float, second: float) -> float:
    low, high = (first, second) if first < second else (second, first)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))
