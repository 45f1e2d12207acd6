"""Whole runs: independent runs of a population whose program has no loop to cut, each of them a step.

Law: outputs and evidence of a run are those of the whole, bit for bit; the key of a run is that of its number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.inference.running.portions import Portions

from ...running.course import Kept, Phase
from .population_course import finished_outputs, like_a_run
from .stages import joined


class WholeState(NamedTuple):
    """The outputs and the log evidence of the runs so far."""

    finished: list[list[Any]]


@dataclass(frozen=True, eq=False)
class WholeRuns:
    """Independent runs of a population method without a loop.

    Attributes:
        portions: the method, which is in one part.
        key: the key of all runs.
        inputs: the program's.
        runs: how many.
        stats: where the numbers of stages stand among the outputs, by part of the program and name.
    """

    portions: Portions
    key: jax.Array
    inputs: list[Any]
    runs: int
    stats: Mapping[tuple[int, str], int]

    @property
    def program(self) -> Portions:
        """What is compiled."""
        return self.portions

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One for each run, of one step."""
        return tuple(Phase(f"run {run + 1} of {self.runs}", 1, (), run) for run in range(self.runs))

    def begin(self) -> WholeState:
        """Say that no run is finished."""
        return WholeState([])

    def advance(self, state: WholeState, phase: int, steps: int, into: Sequence[np.ndarray]) -> WholeState:
        """Take a run, from its beginning to its end."""
        pause = self.portions.begin(jax.random.fold_in(self.key, jnp.asarray(phase)), self.inputs)
        outputs, log_evidence = self.portions.outputs(pause, [])
        return WholeState([*state.finished, [np.asarray(x) for x in (*outputs, log_evidence)]])

    def end(self, state: WholeState, phase: int, kept: Kept) -> WholeState:
        """Leave the state."""
        return state

    def outputs(self, state: WholeState) -> tuple[list[np.ndarray], np.ndarray]:
        """Give outputs (run, ...) and log evidence (run,) of the runs that are finished."""
        return finished_outputs(self.portions, state.finished)

    def longest(self, phase: int) -> int:
        """Allow the one step."""
        return 1

    def place(self, state: WholeState) -> dict[str, int]:
        """Say how many runs are finished."""
        return {"finished": len(state.finished)}

    def expected(self, place: Mapping[str, int]) -> WholeState:
        """Describe a state."""
        return WholeState([like_a_run(self.portions)] * place["finished"])

    def told(self, state: WholeState, phase: int, rows: Sequence[np.ndarray]) -> Mapping[str, Any]:
        """Say what was noted at the stages of the run, and its log evidence."""
        *outputs, log_evidence = state.finished[-1]
        noted = joined({name: outputs[position][None] for name, position in self.stats.items()})
        return {**{name: array[0] for name, array in noted.items()}, "log_evidence": float(log_evidence)}
