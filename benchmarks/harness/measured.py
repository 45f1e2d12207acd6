"""Measurements against absolute bars: a number, the most that it may be, and how it is told.

Law: a bar is met by what is no larger; CPU seconds are those of all threads, and the clocks enclose the call alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple


class Measured(NamedTuple):
    """A number and the most that it may be."""

    what: str
    value: float
    bar: float | None = None
    unit: str = "s"

    @property
    def met(self) -> bool:
        """Whether the bar is met."""
        return self.bar is None or self.value <= self.bar


class Timed(NamedTuple):
    """What a call gave, and its CPU and wall seconds."""

    value: Any
    cpu: float
    wall: float


def timed(run: Callable[[], Any]) -> Timed:
    """Run once under both clocks."""
    cpu, wall = time.process_time(), time.perf_counter()
    value = run()
    return Timed(value, time.process_time() - cpu, time.perf_counter() - wall)


def both(what: str, found: Timed, bar: float | None = None) -> Iterator[Measured]:
    """Give CPU seconds with the bar, and wall seconds without."""
    yield Measured(what, found.cpu, bar)
    yield Measured("  in wall time", found.wall)


def line_of(one: Measured) -> str:
    """Tell a measurement in a line."""
    bar = "" if one.bar is None else f"   at most {one.bar:.3g}: {'met' if one.met else 'MISSED'}"
    value = f"{one.value:.4g}" if abs(one.value) < 1e4 else f"{one.value:.2f}"
    return f"{one.what:75} {value:>9} {one.unit}{bar}"
