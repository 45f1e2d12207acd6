"""Move: a kernel applied to every particle of a population: of a traced program, at a pause, or on a path.

Law: a kernel that keeps the measure of the program, by itself or by weights of its own, keeps the population's,
whatever weights the particles have; at a pause the program is that up to there, on a path the measure of the point.

On a path a kernel runs in coordinates of its own: a particle enters them, takes steps, and leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form, Plate, Var
from lawful.form.builder import Block
from lawful.form.bundles import filled, listed
from lawful.form.liveness import without_dead_code
from lawful.passes.add_plate import lift
from lawful.passes.thread_sites import score

from ..contract import PRESERVES, Transformer
from ..findings.move_statistics import kept_of, of_particles, over_moves, told
from ..representations.absent_elements import refuse_absent
from ..representations.densities_of import exact, scoped, scored
from ..representations.kernel_parts import SIGNAL
from ..representations.population import Pause, Population, gather, weighed_by
from ..representations.tempered import Point
from ..representations.tempered_program import times
from .fits import Learning
from .fits import filled as fitted

PILOTS, PILOT_STEPS, GAIN = 16, 8, 2.0  # particles and moves of a pilot, and by how much its first move counts


def move_by(kernel: Any) -> Transformer:
    """Apply a kernel once to each particle; see `inference.move`."""
    return Transformer(f"move({kernel!r})", lambda population: _move(population, kernel), PRESERVES)


def _move(population: Population, kernel: Any) -> Population:
    if isinstance(population.pending, Pause):
        return population.pending.move(population, kernel)
    view, block, plate = population.source, population.block, population.plate
    if view is None:
        raise LawfulError(
            "move: the population has no choices to move. Fix: spawn it from a traced program, as in "
            "Trace >> spawn(n) >> resample(scheme) >> move(kernel)."
        )
    form, made = stepped(view.program, kernel)
    values = population.values[view.recorded.own :][: len(view.recorded.choices)]
    plated = [False] * len(population.inputs) + [plate in v.plates for v in values]
    form = without_dead_code(replace(form, outputs=listed(replace(made, numbers={}))))
    lifted = lift(form, plate, plated)
    form = scoped(lifted.form, (*population.scope, f"move{population.stage}"))
    outputs = block.splice(form, [*population.inputs, *values])
    if lifted.weighted:
        outputs, population = outputs[:-1], weighed_by(population, outputs[-1])
    return population.next_stage(values=outputs)


@dataclass(frozen=True)
class Moved:
    """What a move gives: numbers that are kept, what the program returns, values of its choices, and their flags."""

    numbers: dict[str, Var]
    returned: tuple[Var, ...]
    values: tuple[Var, ...]
    flags: tuple[Var, ...]


def stepped(program: Form, kernel: Any) -> tuple[Form, Moved]:
    """Write one step of a kernel, from inputs of a program and values of its choices; its factors weigh the step."""
    refuse_absent(kernel, program, "move")
    built = exact(kernel.build(program), "move", weighs=True)
    block, inputs = Block(), tuple(v.like() for v in program.inputs)
    values = tuple(Var(choice.full_shape, choice.dtype) for choice in built.choices)
    log_density, flags = scored(block, program, inputs, values)
    out = block.splice(built.form, (inputs, values, flags, log_density))
    (after, flags, _), numbers = filled((values, flags, log_density), out[: built.size]), out[built.size :]
    info = dict(zip(built.info, numbers, strict=True))
    returned = score(program).spliced(block, (*inputs, *after)).own
    made = Moved({name: info[name] for name in kept_of(built.info)}, returned, after, flags)
    form = without_dead_code(block.form((inputs, values), made))
    return form, filled(made, form.outputs)


@dataclass(frozen=True)
class Move:
    """A kernel at a point of a path, as three Forms for one particle, whose inputs begin with the shared values.

    Attributes:
        enter: from the values, flags, rest and slope of a particle to what is carried.
        step: from what is carried to that, then the numbers of `info`.
        leave: from what is carried to values, flags, rest and slope.
        shared: the program's inputs, block, power and parameters, in the population's block.
        size: number of values that are carried.
        info: names of the numbers.
        learning: which parameter follows the acceptance; None where all are fixed.
    """

    enter: Form
    step: Form
    leave: Form
    shared: tuple[Var, ...]
    size: int
    info: tuple[str, ...]
    learning: Learning | None = None

    def entered(self, block: Block, state: Sequence[Var], plate: Plate) -> tuple[Var, ...]:
        """Append the way into the kernel's coordinates for every element of a plate."""
        return _for_each(block, self.enter, self.shared, state, plate)

    def left(self, block: Block, carried: Sequence[Var], plate: Plate) -> tuple[Var, ...]:
        """Append the way back."""
        return _for_each(block, self.leave, self.shared, carried, plate)


def move_of(kernel: Any, block: Block, on: Point, plate: Plate) -> Move:
    """Fill the parameters of a kernel from the particles of a plate, and write it at a point of a path."""
    if not on.tempered.choices:
        raise UnsupportedProgramError(
            "tempered_smc: the program has no latent site to move. Fix: its log evidence is "
            "lawful.trace(model, *args).log_density({}, *args)."
        )
    kernel, parameters, learning = fitted(kernel, block, on, plate)
    target = on.tempered.target()
    refuse_absent(kernel, target, "tempered_smc")
    target = replace(target, inputs=(*target.inputs, *(v.like() for v in parameters)))
    return _written(kernel, target, on, (*on.inputs, on.block, on.power, *parameters), learning)


@dataclass(frozen=True)
class Parts:
    """The log density of a target on a path in its parts, rest and slope; `inputs` are those of the whole program."""

    tempered: Any
    inputs: int

    def of(self, block: Block, inputs: Sequence[Var], values: Sequence[Var]) -> tuple[Var, ...]:
        """Append the parts at values of the choices, from the inputs of the target."""
        return block.splice(self.tempered.parts(), (*inputs[: self.inputs + 1], *values))[:2]

    def density(self, block: Block, inputs: Sequence[Var], rest: Var, slope: Var) -> Var:
        """Append the log density."""
        found: Var = block.det(density, inputs[self.inputs + 1], rest, slope, label="log density")
        return found


def _written(kernel: Any, target: Form, on: Point, shared: tuple[Var, ...], learning: Learning | None) -> Move:
    """Write a kernel of a target with the way in and out; one that can carries rest and slope along."""
    parts = Parts(on.tempered, len(on.inputs))
    built = kernel.carrying(target, parts) if hasattr(kernel, "carrying") else None
    carries = built is not None
    if built is None:
        built = exact(kernel.build(target), "tempered_smc")
    first, inputs, state = Block(), _like(shared), _state(on)
    *own, rest, slope = state
    given = (*own, parts.density(first, inputs, rest, slope), *((rest, slope) if carries else ()))
    carried = built.entered(first, inputs, given)
    enter = without_dead_code(first.form((*inputs, *state), carried))
    last, inputs, after = Block(), _like(shared), _like(carried)
    there = built.left(last, inputs, after)
    ends = after[-2:] if carries else parts.of(last, inputs, there[: len(on.tempered.choices)])
    leave = without_dead_code(last.form((*inputs, *after), (*there[: len(own)], *ends)))
    return Move(enter, built.step, leave, shared, len(carried), tuple(built.info), learning)


def _like(values: Sequence[Var]) -> tuple[Var, ...]:
    return tuple(Var(v.shape, v.dtype) for v in values)


def _state(on: Point) -> tuple[Var, ...]:
    """Make fresh values for a particle: choices, flags of conditional ones, rest and slope."""
    choices, dtype = on.tempered.choices, jnp.result_type(float)
    values = [Var(c.full_shape, c.dtype) for c in choices]
    flags = [Var(c.loops, jnp.dtype(bool)) for c in choices if c.conditional]
    return (*values, *flags, Var((), dtype), Var((), dtype))


def density(power: jax.Array, rest: jax.Array, slope: jax.Array) -> jax.Array:
    """Give the log density at a power.

    >>> float(density(jnp.array(0.0), jnp.array(-1.0), jnp.array(-jnp.inf)))
    -1.0
    """
    return rest + times(power, slope)


def _for_each(block: Block, form: Form, shared: Sequence[Var], own: Sequence[Var], plate: Plate) -> tuple[Var, ...]:
    plated = [*[False] * len(shared), *[True] * len(own)]
    lifted = lift(form, plate, plated, carried=[True] * len(form.outputs)).form
    return block.splice(lifted, (*shared, *own))


@dataclass(frozen=True)
class Chain:
    """A kernel applied again and again, for every element of a plate at once."""

    move: Move
    plate: Plate
    scope: tuple[str, ...]

    def run(
        self, block: Block, carried: Sequence[Var], log_weight: Var, steps: int, collect: bool
    ) -> tuple[tuple[Var, ...], tuple[Var, ...], dict[str, Var], Var | None]:
        """Append the loop.

        Args:
            block: where the nodes go.
            carried: where the chains start, in the kernel's coordinates.
            log_weight: of the chains; what weighs nothing does not count.
            steps: how many.
            collect: whether all states are given.

        Returns: the last state; all states along a first axis, or nothing; the mean numbers as they are told; what the
            kernel remembers, None where it learns nothing.
        """
        move, names = self.move, kept_of(self.move.info)
        signal = [] if move.learning is None else [move.learning.signal]
        inner, inputs, weight, out, numbers = self._step([*names, *signal], log_weight)
        n = len(move.shared)
        kept = out if collect else ()
        step = inner.form((*inputs[:n], weight, *inputs[n:]), (*out, *kept, *numbers))
        last, ys = block.loop(step, steps, (*move.shared, log_weight), carried, ())
        means = [
            block.det(over_moves(name), y, label=name)
            for name, y in zip((*names, *signal), ys[len(kept) :], strict=True)
        ]
        info = {told(name): mean for name, mean in zip(names, means[: len(names)], strict=True)}
        if move.learning is None:
            return last, ys[: len(kept)], info, None
        learning = move.learning
        memory = block.det(learning.following.learned, learning.memory, means[-1], label="what is remembered")
        return last, ys[: len(kept)], info, memory

    def pilot(self, block: Block, carried: Sequence[Var], log_weight: Var) -> Move:
        """Append a loop whose moves only teach; gives the move with what it has learned.

        Each acceptance is that of a few particles, so what it teaches counts less and less.
        """
        move = self.move
        assert move.learning is not None
        learning, place = move.learning, move.learning.place
        inner, inputs, weight, out, (accepted,) = self._step([learning.signal], log_weight)
        memory, gain = learning.memory.like(), Var((), learning.memory.dtype)
        learnt = inner.det(_Gained(learning.following), memory, accepted, gain, label="what is remembered")
        now = inner.det(learning.following.given, learnt, label="parameter")
        shared = [i for i in range(len(move.shared)) if i != place]
        before = (*(inputs[i] for i in shared), weight, memory, inputs[place], *inputs[len(move.shared) :], gain)
        step = inner.form(before, (learnt, now, *out))
        gains = block.constant(np.asarray(GAIN / np.sqrt(np.arange(1, PILOT_STEPS + 1)), gain.dtype))
        constants = (*(move.shared[i] for i in shared), log_weight)
        state = (learning.memory, move.shared[place], *carried)
        (memory, now, *_), _ = block.loop(step, PILOT_STEPS, constants, state, (gains,))
        learned = (*move.shared[:place], now, *move.shared[place + 1 :])
        return replace(move, shared=learned, learning=replace(learning, memory=memory))

    def _step(
        self, names: Sequence[str], log_weight: Var
    ) -> tuple[Block, tuple[Var, ...], Var, tuple[Var, ...], list[Var]]:
        """Write one move of all elements; gives the block, its inputs, the weight, the new state, and mean numbers."""
        move = self.move
        n, size = len(move.shared), move.size
        form = scoped(move.step, self.scope)
        outputs = tuple(form.outputs[i] for i in (*range(size), *(size + move.info.index(name) for name in names)))
        form = without_dead_code(replace(form, outputs=outputs))
        plated = [False] * n + [True] * size
        body = lift(form, self.plate, plated, carried=[True] * len(outputs)).form
        inner = Block()
        inputs = tuple(v.like() for v in body.inputs)
        out = inner.splice(body, inputs)
        weight = log_weight.like()
        numbers = [
            inner.det(_accepted, x, label="acceptance")
            if name.startswith(SIGNAL)
            else of_particles(inner, name, x, weight)
            for name, x in zip(names, out[size:], strict=True)
        ]
        return inner, inputs, weight, out[:size], numbers


def moved(on: Point, population: Population, kernel: Any, steps: int) -> Population:
    """Append moves of every particle at a point of a path; the last states remain."""
    block, plate = population.block, population.plate
    move = move_of(kernel, block, on, plate)
    state = move.entered(block, population.values, plate)
    move = piloted(population, move, state, population.log_weight, plate)
    chain = Chain(move, plate, (*population.scope, f"move{population.stage}"))
    last, _, info, memory = chain.run(block, state, population.log_weight, steps, collect=False)
    pending = on if memory is None else replace(on, memory=memory)
    return noted(population, info).next_stage(values=move.left(block, last, plate), pending=pending)


def noted(population: Population, info: Mapping[str, Var]) -> Population:
    """Leave the numbers of the moves."""
    for name, number in info.items():
        population.trail.note(name, number)
    return population


def piloted(population: Population, move: Move, carried: Sequence[Var], log_weight: Var, plate: Plate) -> Move:
    """Append moves of a few particles, by which a kernel learns before the others move; where they went is forgotten.

    The measures of two stages may want steps of different sizes, and a stage in which nothing moves is lost.
    """
    if move.learning is None:
        return move
    block, size = population.block, min(PILOTS, plate.size)
    few, stride = Plate("pilot", size), plate.size // size
    index = block.det(lambda: jnp.arange(size) * stride, label="a few of them", adds=(few,))
    *start, weight = gather(block, (*carried, log_weight), index, plate, (few,))
    return Chain(move, few, (*population.scope, f"pilot{population.stage}")).pilot(block, start, weight)


def _accepted(signal: jax.Array) -> jax.Array:
    """Give the mean acceptance of the particles whose kernel ran."""
    ran = signal[:, 0] > 0
    return jnp.sum(jnp.where(ran, signal[:, 1], 0.0)) / jnp.maximum(jnp.sum(ran), 1)


@dataclass(frozen=True)
class _Gained:
    """What is remembered after a move that counts by a gain."""

    following: Any

    def __call__(self, memory: jax.Array, acceptance: jax.Array, gain: jax.Array) -> jax.Array:
        """Give it."""
        return memory + gain * (self.following.learned(memory, acceptance) - memory)
