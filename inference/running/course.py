"""Course: a run as a sequence of phases, each of which takes its steps in portions and leaves rows.

Law: the rows of a phase are the same, bit for bit, however its steps are divided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np


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


@runtime_checkable
class Course(Protocol):
    """What the driver needs of a method; a state is a pytree of arrays."""

    @property
    def phases(self) -> tuple[Phase, ...]:
        """All phases, in order."""

    @property
    def compile_seconds(self) -> float:
        """Seconds spent on compiling so far."""

    def begin(self) -> Any:
        """Return the state before the first step."""

    def advance(self, state: Any, phase: int, steps: int) -> tuple[Any, list[np.ndarray]]:
        """Take some steps of a phase; the state that is given is not used again. Gives the rows, on the host."""

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

    def rows(self, phase: int, steps: int) -> list[np.ndarray]:
        """Give the rows of the first steps of a phase."""
        return [
            array[: steps * own.per_step]
            for own, array in zip(self.phases[phase].rows, self._arrays(phase), strict=True)
        ]

    def forget(self, phase: int) -> None:
        """Drop the rows of a phase."""
        self.arrays.pop(phase, None)

    def _arrays(self, phase: int) -> list[np.ndarray]:
        if phase not in self.arrays:
            one = self.phases[phase]
            self.arrays[phase] = [np.empty((one.total * r.per_step, *r.shape), r.dtype) for r in one.rows]
        return self.arrays[phase]


def pieces(steps: int, longest: int) -> list[int]:
    """Divide steps among calls of at most so many.

    >>> pieces(10, 4)
    [4, 4, 2]
    """
    return [min(longest, steps - done) for done in range(0, steps, longest)]


def joined(taken: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Join the rows of calls that followed each other."""
    return list(taken[0]) if len(taken) == 1 else [np.concatenate(own) for own in zip(*taken, strict=True)]
