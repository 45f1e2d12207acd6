"""Courses: eager chains and populations as the driver takes them, a few steps at a time.

Law: what is run does not depend on how it is divided: the choices of a chain, a run and a step have keys of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from lawful.messages import Surroundings, only, placed

from ...eager.drawing import Draws
from ...eager.population import Population
from ...eager.run import Run
from ...eager.trace_mh import Move
from ...running.course import Kept, Phase
from ...running.options import FIRST

TOLD = {"acceptance_rate": "acceptance", "n_nonfinite": "n_nonfinite"}


class EagerCourse:
    """What all eager courses have in common: nothing is compiled, and a state is the number of steps that are done."""

    length = FIRST  # of the last chunk
    compile_seconds = 0.0

    def __init__(self, key: jax.Array) -> None:
        self.draws = Draws(key)
        self.busy_seconds = 0.0

    @property
    def program(self) -> EagerCourse:
        """Itself."""
        return self

    def begin(self) -> int:
        """Say that no step is done."""
        return 0

    def longest(self, phase: int) -> int:
        """Allow any number of steps."""
        return 1 << 20

    def end(self, state: int, phase: int, kept: Kept) -> int:
        """Leave the state."""
        return state

    def place(self, state: int) -> dict[str, int]:
        """Say nothing: there are no checkpoints."""
        return {}

    def expected(self, place: Mapping[str, int]) -> int:
        """Describe a state."""
        return 0

    def alone[T](self, number: int, run: Callable[[], T]) -> T:
        """Run something as a chain or a run of this number, by itself."""
        start = time.perf_counter()
        with only(self.draws), placed(Surroundings(indices=(number,))):
            found = run()
        self.busy_seconds += time.perf_counter() - start
        return found


class EagerChains(EagerCourse):
    """Chains side by side: `start` finds the start of a chain, `step` moves from a run by the step of a number."""

    def __init__(
        self, key: jax.Array, start: Callable[[], Run], step: Callable[[Run, int], Move], settings: Mapping[str, Any]
    ) -> None:
        super().__init__(key)
        self.start, self.step, self.thin = start, step, settings["thin"]
        self.moves: list[list[Move]] = [[] for _ in range(settings["chains"])]
        self.here: list[Run] = []
        self.last = 0  # steps of the last portion
        self.phases = Phase("warmup", settings["warmup"], ()), Phase("sampling", settings["draws"], ())

    def begin(self) -> int:
        """Find the starts."""
        self.here = [self.alone(number, self.start) for number in range(len(self.moves))]
        return 0

    def advance(self, state: int, phase: int, steps: int, into: Sequence[np.ndarray]) -> int:
        """Take the steps of some draws."""
        stop = state + steps * (self.thin if phase else 1)

        def moved(here: Run) -> list[Move]:
            found: list[Move] = []
            for at in range(state, stop):
                found.append(self.step(found[-1].run if found else here, at))
            return found

        every = [self.alone(number, partial(moved, here)) for number, here in enumerate(self.here)]
        for number, found in enumerate(every):  # of all chains, or of none
            self.moves[number] += found
            self.here[number] = found[-1].run if found else self.here[number]
        self.last = stop - state
        return stop

    def told(self, state: int, phase: int, rows: Sequence[np.ndarray]) -> Mapping[str, Any]:
        """Tell how moves were accepted in the last portion, and how many densities were no number."""
        last = [move for chain in self.moves for move in chain[len(chain) - self.last :]]
        return {name: [getattr(move, field) for move in last] for name, field in TOLD.items()}


class EagerRuns(EagerCourse):
    """Independent runs of a population, each of them a step: `take` gives its last particles, and picks of draws."""

    def __init__(self, key: jax.Array, take: Callable[[], tuple[Population, np.ndarray]], runs: int) -> None:
        super().__init__(key)
        self.take = take
        self.kept: list[tuple[Population, np.ndarray]] = []
        self.phases = tuple(Phase(f"run {number + 1} of {runs}", 1, (), number) for number in range(runs))

    def advance(self, state: int, phase: int, steps: int, into: Sequence[np.ndarray]) -> int:
        """Run a population."""
        self.kept.append(self.alone(phase, self.take))
        return state + 1

    def told(self, state: int, phase: int, rows: Sequence[np.ndarray]) -> Mapping[str, Any]:
        """Tell the evidence of the run."""
        return {"log_evidence": self.kept[-1][0].log_evidence}
