"""Course: a run as a sequence of phases, each of which takes its steps in portions and leaves rows.

Law: the rows of a phase are the same, bit for bit, however its steps are divided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from .row_memory import room


class Row(NamedTuple):
    """What a step leaves in one array: shape and type of a row, and rows a step."""

    shape: tuple[int, ...]
    dtype: Any
    per_step: int = 1


@dataclass(frozen=True)
class Phase:
    """A stretch of steps.

    Attributes:
        name: "warmup", "sampling", or what a population does.
        total: number of steps.
        rows: what a step leaves.
        run: number of the run, where runs follow each other; else 0.
    """

    name: str
    total: int
    rows: tuple[Row, ...]
    run: int = 0

    def room(self, steps: int) -> list[np.ndarray]:
        """Make arrays for the rows of some steps."""
        return [room((steps * row.per_step, *row.shape), row.dtype) for row in self.rows]


@runtime_checkable
class Course(Protocol):
    """What the driver needs of a method; a state is a pytree of arrays."""

    @property
    def program(self) -> Any:
        """What is compiled, which tells `compile_seconds` and `busy_seconds` so far.

        Its `length` is that of the last chunk, at which a plan that is called again begins.
        """

    @property
    def phases(self) -> tuple[Phase, ...]:
        """All phases, in order."""

    def begin(self) -> Any:
        """Return the state before the first step."""

    def advance(self, state: Any, phase: int, steps: int, into: Sequence[np.ndarray]) -> Any:
        """Take some steps of a phase and write their rows; the state that is given is not used again."""

    def longest(self, phase: int) -> int:
        """Return the most steps that one call of the compiled program takes."""

    def end(self, state: Any, phase: int, kept: Kept) -> Any:
        """Return the state after the last step of a phase; rows of finished runs may be dropped."""

    def place(self, state: Any) -> dict[str, int]:
        """Say what the structure of a state depends on."""

    def expected(self, place: Mapping[str, int]) -> Any:
        """Describe a state by the shapes and types of its arrays."""

    def told(self, state: Any, phase: int, rows: Sequence[np.ndarray]) -> Mapping[str, Any]:
        """Say what rows and state tell of the run: numbers by name, as `acceptance_rate`."""


@runtime_checkable
class Stream(Protocol):
    """Takes the rows of a run out of memory while it goes on, as into a store."""

    tally: Any

    def take(self, number: int, start: int, rows: Sequence[np.ndarray]) -> None:
        """Take the rows of some steps of a phase."""

    def flush(self) -> bool:
        """Write what waits; gives whether all rows are out of memory."""

    def goes_on(self, done: Sequence[int], tally: Any) -> None:
        """Go on from where a run was."""

    def part(self, number: int) -> Any:
        """Give draws and numbers of a phase so far."""


class Kept:
    """The rows of all phases so far, in arrays that have room for all.

    >>> kept = Kept([Phase("sampling", 4, (Row((), np.float64),))])
    >>> kept.write(0, 0, [np.ones(3)])
    >>> kept.rows(0, 2)
    [array([1., 1.])]
    """

    def __init__(self, phases: Sequence[Phase]) -> None:
        """Nothing is allocated before the first row of a phase."""
        self.phases = phases
        self.arrays: dict[int, list[np.ndarray]] = {}

    def write(self, phase: int, start: int, rows: Sequence[np.ndarray]) -> None:
        """Keep the rows of some steps, from step `start` on."""
        for own, array, new in zip(self.phases[phase].rows, self._arrays(phase), rows, strict=True):
            array[start * own.per_step : start * own.per_step + len(new)] = new

    def rows(self, phase: int, stop: int, start: int = 0) -> list[np.ndarray]:
        """Give the rows of some steps of a phase, to be read or written."""
        return [
            array[start * own.per_step : stop * own.per_step]
            for own, array in zip(self.phases[phase].rows, self._arrays(phase), strict=True)
        ]

    def forget(self, phase: int) -> None:
        """Drop the rows of a phase."""
        self.arrays.pop(phase, None)

    def _arrays(self, phase: int) -> list[np.ndarray]:
        if phase not in self.arrays:
            one = self.phases[phase]
            self.arrays[phase] = one.room(one.total)
        return self.arrays[phase]
