"""Chains in portions: the loops of chains as courses that the driver takes step by step.

Law: states and numbers are those of the whole loop, bit for bit: the keys of a step are those of its number, warm-up
included, and a warm-up knows its length from the start.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.form.liveness import is_random
from lawful.inference.running.portions import Pause, Portions
from lawful.inference.running.row_stacks import LONGEST, Stacks, in_portion, pieces, steps_of_call
from lawful.inference.running.timed_program import Program

from ...running.course import Course, Kept, Phase, Row
from ...running.lengths import FIRST
from ...running.spread import Spread
from .chain_loop import ChainLoop
from .tuned_loop import TunedLoop

PHASES = ("warmup", "sampling")


class ChainState(NamedTuple):
    """Many chains between two steps: the key of the run, the steps that are done, and the state of each chain."""

    key: jax.Array
    step: Any
    values: list[jax.Array]


class ChainSteps:
    """The compiled steps of a loop of chains, for portions of any length."""

    def __init__(self, loop: ChainLoop, longest: int | None) -> None:
        """Nothing is compiled yet."""
        self.loop, self.longest = loop, longest
        self.programs: dict[int, Program] = {}
        self.stacks: dict[int, Stacks] = {}
        self.length = FIRST  # of the last chunk
        self.rows, self.capacity = functools.cache(self._rows), functools.cache(self._capacity)

    @property
    def compile_seconds(self) -> float:
        """Seconds spent on compiling so far."""
        return sum((program.seconds for program in self.programs.values()), start=0.0)

    @property
    def busy_seconds(self) -> float:
        """Seconds so far in which compiled programs ran."""
        return sum((program.busy for program in self.programs.values()), start=0.0)

    def take(self, state: ChainState, inputs: Any, draws: int, thin: int, into: Sequence[np.ndarray]) -> ChainState:
        """Take the steps of some draws, and write states and numbers, (draw, ...) or (draw, step, ...)."""
        capacity = self.capacity(thin)
        if thin not in self.programs:
            self.programs[thin] = Program(functools.partial(self._steps, thin, capacity), donated=(5,))
            self.stacks[thin] = Stacks([(_many(row, capacity), row.dtype) for row in self.rows(thin)])
        at, stacks = (np.int32(state.step), np.int32(draws)), self.stacks[thin]
        values, rows = self.programs[thin](state.key, inputs, *at, state.values, stacks.taken())
        stacks.read(rows, draws, into)
        return ChainState(state.key, np.int64(int(state.step) + draws * thin), values)

    def _capacity(self, thin: int) -> int:
        """Most draws of one call."""
        size = sum(int(np.prod(r.shape)) * np.dtype(r.dtype).itemsize * r.per_step for r in self.rows(thin))
        return min(steps_of_call(size, self.loop.steps, self.longest), max(1, LONGEST // thin))

    def _rows(self, thin: int) -> tuple[Row, ...]:
        """What a draw leaves: the state, then the numbers of each of its steps."""
        states, numbers = self.loop.body.outputs[: self.loop.size], self.loop.body.outputs[self.loop.size :]
        chains = self.loop.plate
        wide = [v.full_shape if chains in v.plates else (chains.size, *v.full_shape) for v in numbers]
        return (
            *(Row(v.full_shape, v.dtype) for v in states),
            *(Row(shape, v.dtype, thin) for shape, v in zip(wide, numbers, strict=True)),
        )

    def _steps(
        self, thin: int, capacity: int, key: Any, inputs: Any, start: Any, draws: Any, values: Any, stacks: Any
    ) -> Any:
        keys, unstack = self.loop.keys(key, start + jnp.arange(capacity * thin, dtype=jnp.int32))

        def one(values: Any, own: Any) -> Any:
            return self.loop.step(inputs, values, unstack(own))

        def draw(i: Any, values: Any) -> Any:
            if thin == 1:
                values, numbers = one(values, [k[i] for k in keys])
            else:
                own = [jax.lax.dynamic_slice_in_dim(k, i * thin, thin) for k in keys]
                values, numbers = jax.lax.scan(one, values, own)
            return values, [*values, *numbers]

        return in_portion(draw, values, draws, stacks)


@dataclass(frozen=True, eq=False)
class ChainCourse:
    """The chains of a kernel without settings that a warm-up finds."""

    steps: ChainSteps
    key: jax.Array
    inputs: list[Any]
    start: list[jax.Array]
    spread: Spread

    @property
    def program(self) -> ChainSteps:
        """What is compiled."""
        return self.steps

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Warm-up, every step of which leaves a row, and draws."""
        loop = self.steps.loop
        rows = self.steps.rows(1), self.steps.rows(loop.thin)
        return tuple(map(Phase, PHASES, (loop.warmup, loop.draws), rows))

    def begin(self) -> ChainState:
        """Return the start."""
        return self._put(ChainState(self.key, np.int64(0), [jnp.asarray(x) for x in self.start]))

    def advance(self, state: ChainState, phase: int, steps: int, into: Sequence[np.ndarray]) -> ChainState:
        """Take the steps of some draws."""
        thin, state = self._thin(phase), self._put(state)
        rows = [_apart(x, row, steps) for row, x in zip(self.steps.rows(thin), into, strict=True)]
        for start, count in pieces(steps, self.longest(phase)):
            state = self.steps.take(state, self.inputs, count, thin, [x[start : start + count] for x in rows])
        return state

    def longest(self, phase: int) -> int:
        """Most draws of one call."""
        return self.steps.capacity(self._thin(phase))

    def end(self, state: ChainState, phase: int, kept: Kept) -> ChainState:
        """Go on."""
        return state

    def place(self, state: ChainState) -> dict[str, int]:
        """Say nothing: all states are alike."""
        return {}

    def expected(self, place: Mapping[str, int]) -> ChainState:
        """Describe a state: that at the start."""
        return self.begin()

    def told(self, state: ChainState, phase: int, rows: Sequence[np.ndarray]) -> Mapping[str, Any]:
        """Say nothing beyond the numbers of the kernel."""
        return {}

    def _thin(self, phase: int) -> int:
        return self.steps.loop.thin if phase else 1

    def _put(self, state: ChainState) -> ChainState:
        return state._replace(values=self.spread(state.values, [True] * len(state.values)))


@dataclass(frozen=True, eq=False)
class TunedCourse:
    """The chains of a kernel that a warm-up tunes."""

    portions: Portions
    loop: TunedLoop
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
        """Describe a state."""
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


def steps_of(loop: ChainLoop | TunedLoop, longest: int | None) -> ChainSteps | Portions:
    """Return what is compiled for portions of a loop."""
    if isinstance(loop, ChainLoop):
        return ChainSteps(loop, longest)
    return Portions(loop.divisible, cut=is_random, longest=longest)


def chain_course(
    loop: ChainLoop | TunedLoop, steps: ChainSteps | Portions, key: jax.Array, inputs: list[Any], start: list[Any],
    spread: Spread,
) -> Course:  # fmt: skip
    """Return the course of chains from a start, whose state is spread over devices."""
    if isinstance(steps, ChainSteps):
        return ChainCourse(steps, key, inputs, start, spread)
    assert isinstance(loop, TunedLoop)
    return TunedCourse(steps, loop, key, inputs, start, spread)


def _many(row: Row, count: int) -> tuple[int, ...]:
    """Give the shape of the rows of some draws, with an axis of its own for the steps of each."""
    return (count, *row.shape) if row.per_step == 1 else (count, row.per_step, *row.shape)


def _apart(x: np.ndarray, row: Row, draws: int) -> np.ndarray:
    """Look at the rows of some draws with an axis of its own for the steps of each."""
    return x.reshape(_many(row, draws), copy=False)
