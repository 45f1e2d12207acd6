"""Search course: many searches as one phase of steps that the driver takes in portions.

Law: a step is a function of the state of the searches alone, so that all portions end where one call does, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...running.course import Kept, Phase
from ...running.options import FIRST
from ...running.timed_program import Program
from .ascent import Search

PHASE = "searches"


@dataclass(eq=False)
class Climb:
    """The compiled steps of searches: (inputs, searches, number of steps) to searches, and the length of a chunk."""

    run: Program
    length: int = FIRST

    @property
    def compile_seconds(self) -> float:
        """Seconds that compiling took so far."""
        return self.run.seconds

    @property
    def busy_seconds(self) -> float:
        """Seconds in which the compiled steps ran so far."""
        return self.run.busy

    def __call__(self, inputs: Sequence[Any], searches: Search, steps: int) -> Search:
        """Take some steps, fewer where all searches rest."""
        found: Search = self.run(tuple(inputs), searches, jnp.asarray(steps, jnp.int32))
        return found


@dataclass(frozen=True, eq=False)
class SearchCourse:
    """Searches from their starts."""

    program: Climb
    start: Callable[[], Search]
    shapes: Callable[[], Search]
    inputs: Sequence[Any]
    steps: int

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One, whose steps leave nothing but the state."""
        return (Phase(PHASE, self.steps, ()),)

    def begin(self) -> Search:
        """Find the starts."""
        return self.start()

    def advance(self, state: Search, phase: int, steps: int, into: Sequence[np.ndarray]) -> Search:
        """Take some steps of all searches."""
        return self.program(self.inputs, jax.tree.map(jnp.asarray, state), steps)

    def longest(self, phase: int) -> int:
        """All steps fit in one call."""
        return self.steps

    def end(self, state: Search, phase: int, kept: Kept) -> Search:
        """Stay."""
        return state

    def place(self, state: Search) -> dict[str, int]:
        """The structure of a state depends on nothing."""
        return {}

    def expected(self, place: Mapping[str, int]) -> Search:
        """Describe a state."""
        return self.shapes()

    def told(self, state: Search, phase: int, rows: Sequence[np.ndarray]) -> Mapping[str, Any]:
        """Tell the log density of each search, and which of them rest."""
        return {"lp": np.asarray(state.value), "rests": np.asarray(state.rests)}
