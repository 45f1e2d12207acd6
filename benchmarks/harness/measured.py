"""Measurements against absolute bars: a number, the most that it may be, and how it is told.

Law: a bar is met by what is no larger; CPU seconds are those of all threads, and the clocks enclose the call alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
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


def printed(found: Iterable[Measured]) -> list[Measured]:
    """Print measurements, each as soon as it is there, and give them all."""
    seen = []
    for one in found:
        print(line_of(one), flush=True)
        seen.append(one)
    return seen


def run_parts(about: str | None, parts: Mapping[str, Callable[[int], Iterator[Measured]]], rounds: int) -> int:
    """Run the parts that the command line names, or all; give the exit status, which tells whether a bar is missed.

    Args:
        about: what the command says of itself.
        parts: by name, a function of a number of rounds.
        rounds: how many, unless the command line tells.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("parts", nargs="*", choices=[[], *parts], help="all if none")
    parser.add_argument("--rounds", type=int, default=rounds)
    options = parser.parse_args()
    found = [one for name in options.parts or parts for one in printed(parts[name](options.rounds))]
    return int(any(not one.met for one in found))
