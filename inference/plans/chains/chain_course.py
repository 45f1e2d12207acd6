"""Chain course: the loops of chains as courses that the driver takes step by step.

Law: states and numbers are those of the whole loop, bit for bit: the keys of a step are those of its number, warm-up
included, and a warm-up knows its length from the start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lawful.errors import CheckpointMismatch
from lawful.form.liveness import is_random
from lawful.inference.running.resumable_form import Pause, Portions

from ...devices.mesh import Spread
from ...running.course import Kept, Phase, Row
from .chain_loop import ChainLoop

PHASES = ("warmup", "sampling")


@dataclass(frozen=True, eq=False)
class ChainCourse:
    """The chains of a kernel."""

    portions: Portions
    loop: ChainLoop
    key: jax.Array
    inputs: list[Any]
    start: list[jax.Array]
    spread: Spread

    @property
    def program(self) -> Portions:
        """What is compiled."""
        return self.portions

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Warm-up and draws; they are steps of one loop unless draws are thinned."""
        loop = self.loop
        return tuple(
            Phase(name, total, tuple(self._rows(number)))
            for number, (name, total) in enumerate(zip(PHASES, (loop.warmup, loop.draws), strict=True))
        )

    def begin(self) -> Pause:
        """Run up to the first step."""
        return self.portions.begin(self.key, [*self.inputs, *self.start])

    def advance(self, state: Pause, phase: int, steps: int, into: Sequence[np.ndarray]) -> Pause:
        """Take the steps of some draws."""
        views: dict[int, np.ndarray] = {}
        copies: list[tuple[np.ndarray, np.ndarray]] = []
        for place, row, x in zip(self._places(phase), self._rows(phase), into, strict=True):
            own = x if row.per_step == 1 else np.moveaxis(_apart(x, row, steps), 1, 2)
            if views.setdefault(place, own) is not own:
                copies.append((own, views[place]))  # one value is shown twice
        state, _ = self.portions.advance(self._put(state), steps, [views[place] for place in range(len(views))])
        for own, other in copies:
            np.copyto(own, other)
        return state

    def longest(self, phase: int) -> int:
        """Most draws of one call."""
        return self.portions.capacity(self._part(phase))

    def end(self, state: Pause, phase: int, kept: Kept) -> Pause:
        """Go on."""
        return state

    def place(self, state: Pause) -> dict[str, int]:
        """Say which loop runs."""
        return {"part": int(state.part)}

    def expected(self, place: Mapping[str, int]) -> Pause:
        """Describe a state.

        Raises: CheckpointMismatch where it was written by a version that ran chains in another loop.
        """
        if "part" not in place:
            raise CheckpointMismatch(
                "the checkpoint was written by an older version of lawful, whose chains without a warm-up that learns "
                "ran in a loop of their own. Fix: go on with that version, or begin anew.",
                differing=("place",),
            )
        return self.portions.expected(place["part"], self.key, [*self.inputs, *self.start])

    def told(self, state: Pause, phase: int, rows: Sequence[np.ndarray]) -> Mapping[str, Any]:
        """Say nothing beyond the numbers of the kernel."""
        return {}

    def _put(self, state: Pause) -> Pause:
        """Spread the values and what a loop carries, by the chains' plate."""
        if int(state.part) >= len(self.portions.parts):
            return state
        part, chains = self.portions.parts[int(state.part)], self.loop.writer.plate
        live, carried = ([v.plates[:1] == (chains,) for v in own] for own in (part.live, part.loop.carry_out))
        return state._replace(values=self.spread(state.values, live), carry=self.spread(state.carry, carried))

    def _part(self, phase: int) -> int:
        return phase if self.loop.thin > 1 else 0

    def _places(self, phase: int) -> list[int]:
        """Find states and numbers, in their order, among the rows of a loop."""
        shown = self.portions.shown(self._part(phase))
        return [shown[position] for position in sorted(shown)]

    def _rows(self, phase: int) -> list[Row]:
        known = self.portions.rows(self._part(phase))
        size, thin = self.loop.kernel.size, self.loop.thin if phase else 1
        found = [known[place] for place in self._places(phase)]
        return [
            Row((shape[0], *shape[2:]), dtype, thin) if number >= size and thin > 1 else Row(shape, dtype)
            for number, (shape, dtype) in enumerate(found)
        ]


def portions_of(loop: ChainLoop, longest: int | None) -> Portions:
    """Return what is compiled for portions of a loop."""
    return Portions(loop.divisible, cut=is_random, longest=longest)


def _apart(x: np.ndarray, row: Row, draws: int) -> np.ndarray:
    """Look at the rows of some draws with an axis of its own for the steps of each."""
    return x.reshape((draws, row.per_step, *row.shape), copy=False)
