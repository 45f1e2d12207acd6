"""Population course: independent runs one after the other, each a form that is cut at its loops.

Law: outputs and evidence of a run are those of the whole, bit for bit; the key of a run is that of its number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.inference.running.portions import Pause, Portions

from ...running.course import Kept, Phase, Row


class PopulationState(NamedTuple):
    """A run of a population between two steps, with the outputs and the log evidence of the runs before."""

    pause: Pause
    finished: list[list[Any]]


@dataclass(frozen=True, eq=False)
class PopulationCourse:
    """Independent runs of a population method.

    Attributes:
        portions: the method, cut at its loops: the filter, and the way back along the ancestors.
        key: the key of all runs.
        inputs: the program's.
        runs: how many.
        stats: the numbers of stages among the outputs, by name and position.
    """

    portions: Portions
    key: jax.Array
    inputs: list[Any]
    runs: int
    stats: Sequence[tuple[str, int]]

    @property
    def program(self) -> Portions:
        """What is compiled."""
        return self.portions

    @property
    def parts(self) -> int:
        """Number of loops of a run."""
        return len(self.portions.parts)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One for each loop of each run."""
        named = [f"run {run + 1} of {self.runs}" for run in range(self.runs)]
        return tuple(
            Phase(
                name if not part else f"{name}, loop {part + 1}",
                self.portions.total(part),
                tuple(Row(shape, dtype) for shape, dtype in self.portions.rows(part)),
                run,
            )
            for run, name in enumerate(named)
            for part in range(self.parts)
        )

    def begin(self) -> PopulationState:
        """Run up to the first loop of the first run."""
        return PopulationState(self._begin(0), [])

    def advance(self, state: PopulationState, phase: int, steps: int, into: Sequence[np.ndarray]) -> PopulationState:
        """Take some steps of a loop."""
        return state._replace(pause=self.portions.advance(state.pause, steps, into)[0])

    def end(self, state: PopulationState, phase: int, kept: Kept) -> PopulationState:
        """End a run with its last loop, and begin the next one; the rows of its loops are not needed any more."""
        run, part = divmod(phase, self.parts)
        if part < self.parts - 1:
            return state
        own = range(run * self.parts, phase + 1)
        rows = [kept.rows(number, self.portions.total(number % self.parts)) for number in own]
        outputs, log_evidence = self.portions.outputs(state.pause, rows)
        for number in own:
            kept.forget(number)
        finished = [*state.finished, [np.asarray(x) for x in (*outputs, log_evidence)]]
        pause = self._begin(len(finished)) if len(finished) < self.runs else state.pause
        return PopulationState(pause, finished)

    def outputs(self, state: PopulationState) -> tuple[list[np.ndarray], np.ndarray]:
        """Give outputs (run, ...) and log evidence (run,) of the runs that are finished."""
        return finished_outputs(self.portions, state.finished)

    def longest(self, phase: int) -> int:
        """Most steps of one call."""
        return self.portions.capacity(phase % self.parts)

    def place(self, state: PopulationState) -> dict[str, int]:
        """Say which loop runs, and how many runs are finished."""
        return {"part": int(state.pause.part), "finished": len(state.finished)}

    def expected(self, place: Mapping[str, int]) -> PopulationState:
        """Describe a state."""
        pause = self.portions.expected(place["part"], self.key, self.inputs)
        return PopulationState(pause, [like_a_run(self.portions)] * place["finished"])

    def told(self, state: PopulationState, phase: int, rows: Sequence[np.ndarray]) -> Mapping[str, Any]:
        """Say which stage was reached, the numbers noted there, and the log evidence so far."""
        part, pause = phase % self.parts, state.pause
        shown = self.portions.shown(part)
        found: dict[str, Any] = {name: rows[shown[position]] for name, position in self.stats if position in shown}
        if not part:
            found["stage"] = int(pause.step)
        sums = [x for x in (pause.weight, pause.inner) if x is not None]
        found["log_evidence"] = sum(float(x.high) + float(x.low) for x in sums) if sums else None
        return found

    def _begin(self, run: int) -> Pause:
        return self.portions.begin(jax.random.fold_in(self.key, jnp.asarray(run)), self.inputs)


def finished_outputs(portions: Portions, finished: Sequence[Sequence[Any]]) -> tuple[list[np.ndarray], np.ndarray]:
    """Give outputs (run, ...) and log evidence (run,) of the runs that are finished."""
    if not finished:
        return [np.empty((0, *shape), dtype) for shape, dtype in portions.results()], np.empty(0)
    *outputs, log_evidence = (np.stack(own) for own in zip(*finished, strict=True))
    return outputs, log_evidence


def like_a_run(portions: Portions) -> list[np.ndarray]:
    """Make arrays like the outputs and the log evidence of a run."""
    weight = np.zeros((), jnp.result_type(float))
    return [*(np.zeros(shape, dtype) for shape, dtype in portions.results()), weight]
