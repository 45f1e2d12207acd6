"""Population course: independent runs one after the other, each a form that is cut at its loops, or one step.

Law: outputs and evidence of a run are those of the whole, bit for bit; the key of a run is that of its number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.inference.running.resumable_form import Pause, Portions

from ...running.course import Kept, Phase, Row
from .stages import joined


class PopulationState(NamedTuple):
    """A run of a population between two steps, with the outputs and the log evidence of the runs before.

    There is no pause within a run that has no loop.
    """

    pause: Pause | None
    finished: list[list[Any]]


@dataclass(frozen=True, eq=False)
class PopulationCourse:
    """Independent runs of a population method, cut at its loops: the filter, and the way back along the ancestors.

    `stats` says where the numbers of stages stand among the outputs, by part of the program and name.
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
    def parts(self) -> int:
        """Number of phases of a run: of its loops, or of the whole."""
        return max(1, len(self.portions.parts))

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One for each loop of each run; a run without a loop is one of one step."""
        named = [f"run {run + 1} of {self.runs}" for run in range(self.runs)]
        return tuple(
            Phase(
                name if not part else f"{name}, loop {part + 1}",
                self._total(part),
                tuple(Row(shape, dtype) for shape, dtype in self.portions.rows(part)) if self.portions.parts else (),
                run,
            )
            for run, name in enumerate(named)
            for part in range(self.parts)
        )

    def begin(self) -> PopulationState:
        """Run up to the first loop of the first run."""
        return PopulationState(self._begin(0), [])

    def advance(self, state: PopulationState, phase: int, steps: int, into: Sequence[np.ndarray]) -> PopulationState:
        """Take some steps of a loop, or a run without one from its beginning to its end."""
        if state.pause is None:
            return PopulationState(None, [*state.finished, self._finished(self._start(phase), [])])
        return state._replace(pause=self.portions.advance(state.pause, steps, into)[0])

    def end(self, state: PopulationState, phase: int, kept: Kept) -> PopulationState:
        """End a run with its last loop, and begin the next one; the rows of its loops are not needed any more."""
        run, part = divmod(phase, self.parts)
        if state.pause is None or part < self.parts - 1:
            return state
        own = range(run * self.parts, phase + 1)
        rows = [kept.rows(number, self._total(number % self.parts)) for number in own]
        finished = [*state.finished, self._finished(state.pause, rows)]
        for number in own:
            kept.forget(number)
        pause = self._begin(len(finished)) if len(finished) < self.runs else state.pause
        return PopulationState(pause, finished)

    def outputs(self, state: PopulationState) -> tuple[list[np.ndarray], np.ndarray]:
        """Give outputs (run, ...) and log evidence (run,) of the runs that are finished."""
        if not state.finished:
            return [np.empty((0, *shape), dtype) for shape, dtype in self.portions.results()], np.empty(0)
        *outputs, log_evidence = (np.stack(own) for own in zip(*state.finished, strict=True))
        return outputs, log_evidence

    def longest(self, phase: int) -> int:
        """Most steps of one call."""
        return self.portions.capacity(phase % self.parts) if self.portions.parts else 1

    def place(self, state: PopulationState) -> dict[str, int]:
        """Say which loop runs, and how many runs are finished."""
        running = {} if state.pause is None else {"part": int(state.pause.part)}
        return {**running, "finished": len(state.finished)}

    def expected(self, place: Mapping[str, int]) -> PopulationState:
        """Describe a state."""
        pause = self.portions.expected(place["part"], self.key, self.inputs) if self.portions.parts else None
        weight = np.zeros((), jnp.result_type(float))
        finished = [*(np.zeros(shape, dtype) for shape, dtype in self.portions.results()), weight]
        return PopulationState(pause, [finished] * place["finished"])

    def told(self, state: PopulationState, phase: int, rows: Sequence[np.ndarray]) -> Mapping[str, Any]:
        """Say which stage was reached, the numbers noted there, and the log evidence so far."""
        part, pause = phase % self.parts, state.pause
        if pause is None:
            *outputs, log_evidence = state.finished[-1]
            noted = joined({name: outputs[position][None] for name, position in self.stats.items()})
            return {**{name: array[0] for name, array in noted.items()}, "log_evidence": float(log_evidence)}
        shown = self.portions.shown(part)
        places = ((name, position) for (_, name), position in self.stats.items() if position in shown)
        found: dict[str, Any] = {name: rows[shown[position]] for name, position in places}
        if not part:
            found["stage"] = int(pause.step)
        sums = [x for x in (pause.weight, pause.inner) if x is not None]
        found["log_evidence"] = sum(float(x.high) + float(x.low) for x in sums) if sums else None
        return found

    def _total(self, part: int) -> int:
        return self.portions.total(part) if self.portions.parts else 1

    def _begin(self, run: int) -> Pause | None:
        return self._start(run) if self.portions.parts else None

    def _start(self, run: int) -> Pause:
        return self.portions.begin(jax.random.fold_in(self.key, jnp.asarray(run)), self.inputs)

    def _finished(self, pause: Pause, rows: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
        outputs, log_evidence = self.portions.outputs(pause, rows)
        return [np.asarray(x) for x in (*outputs, log_evidence)]
