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
from ..representations.kernel_form import SIGNAL, exact, scoped, scored
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
        teacher: the moves of the part that learns, alone; None where that is all of the kernel.
    """

    enter: Form
    step: Form
    leave: Form
    shared: tuple[Var, ...]
    size: int
    info: tuple[str, ...]
    learning: Learning | None = None
    teacher: Move | None = None

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
    shared = *on.inputs, on.block, on.power, *parameters
    apart = learning is not None and learning.kernel is not kernel
    teacher = _written(learning.kernel, target, on, shared, learning) if learning is not None and apart else None
    return replace(_written(kernel, target, on, shared, learning), teacher=teacher)


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
    first, inputs, state = Block(), _like(shared), _particle(on)
    log_density = parts.density(first, inputs, state.rest, state.slope)
    ends = (state.rest, state.slope) if carries else ()
    carried = built.entered(first, inputs, listed((state.values, state.flags, log_density, ends)))
    enter = without_dead_code(first.form((inputs, state), carried))
    last, inputs, after = Block(), _like(shared), _like(carried)
    kept = state.values, state.flags
    values, flags = filled(kept, built.left(last, inputs, after)[: len(listed(kept))])
    rest, slope = after[-2:] if carries else parts.of(last, inputs, values)
    leave = without_dead_code(last.form((inputs, after), Particle(values, flags, rest, slope)))
    return Move(enter, built.step, leave, shared, len(carried), tuple(built.info), learning)


def _like(values: Sequence[Var]) -> tuple[Var, ...]:
    return tuple(Var(v.shape, v.dtype) for v in values)


@dataclass(frozen=True)
class Particle:
    """A particle at a point of a path: choices, flags of conditional ones, and the log density in its two parts."""

    values: tuple[Var, ...]
    flags: tuple[Var, ...]
    rest: Var
    slope: Var


def _particle(on: Point) -> Particle:
    """Make fresh values for a particle."""
    choices, dtype = on.tempered.choices, jnp.result_type(float)
    values = tuple(Var(c.full_shape, c.dtype) for c in choices)
    flags = tuple(Var(c.loops, jnp.dtype(bool)) for c in choices if c.conditional)
    return Particle(values, flags, Var((), dtype), Var((), dtype))


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
class Given:
    """What all moves of a loop read: what the kernel shares, and the log weights of the elements."""

    shared: tuple[Var, ...]
    log_weight: Var


@dataclass(frozen=True)
class Piloted:
    """What moves that only teach carry: what is remembered, the parameter by it, and the elements."""

    memory: Var
    parameter: Var
    carried: tuple[Var, ...]


@dataclass(frozen=True)
class Ran:
    """What moves of a loop give.

    Attributes:
        last: the last state.
        states: all states along a first axis, where they are collected.
        info: mean numbers as they are told.
        memory: what the kernel remembers; None where it learns nothing.
    """

    last: tuple[Var, ...]
    states: tuple[Var, ...]
    info: dict[str, Var]
    memory: Var | None


@dataclass(frozen=True)
class Chain:
    """A kernel applied again and again, for every element of a plate at once."""

    move: Move
    plate: Plate
    scope: tuple[str, ...]

    def run(self, block: Block, carried: Sequence[Var], log_weight: Var, steps: int, collect: bool) -> Ran:
        """Append the loop.

        Args:
            block: where the nodes go.
            carried: where the chains start, in the kernel's coordinates.
            log_weight: of the chains; what weighs nothing does not count.
            steps: how many.
            collect: whether all states are given.
        """
        names, learning = kept_of(self.move.info), self.move.learning
        asked = [*names, *([] if learning is None else [learning.signal])]

        def write(inner: Block, given: Given, state: tuple[Var, ...], row: None) -> Any:
            after, numbers = self._step(inner, given, state, asked)
            return after, (after if collect else (), numbers)

        last, (states, numbers) = block.scan(write, steps, Given(self.move.shared, log_weight), tuple(carried), None)
        means = {name: block.det(over_moves(name), numbers[name], label=name) for name in asked}
        memory = None
        if learning is not None:
            accepted = means[learning.signal]
            memory = block.det(learning.following.learned, learning.memory, accepted, label="what is remembered")
        return Ran(last, states, {told(name): means[name] for name in names}, memory)

    def pilot(self, block: Block, carried: Sequence[Var], log_weight: Var) -> Move:
        """Append a loop whose moves only teach; gives the move with what it has learned.

        Each acceptance is that of a few particles, so what it teaches counts less and less.
        """
        move, learning = self.move, self.move.learning
        assert learning is not None

        def write(inner: Block, given: Given, state: Piloted, gain: Var) -> Any:
            own = replace(given, shared=learning.put(given.shared, state.parameter))
            after, numbers = self._step(inner, own, state.carried, [learning.signal])
            memory = inner.det(
                _Gained(learning.following), state.memory, numbers[learning.signal], gain, label="what is remembered"
            )
            return Piloted(memory, inner.det(learning.following.given, memory, label="parameter"), after), ()

        gains = np.asarray(GAIN / np.sqrt(np.arange(1, PILOT_STEPS + 1)), learning.memory.dtype)
        start = Piloted(learning.memory, move.shared[learning.place], tuple(carried))
        end, _ = block.scan(write, PILOT_STEPS, Given(move.shared, log_weight), start, block.constant(gains))
        shared = learning.put(move.shared, end.parameter)
        return replace(move, shared=shared, learning=replace(learning, memory=end.memory))

    def _step(
        self, block: Block, given: Given, state: tuple[Var, ...], names: Sequence[str]
    ) -> tuple[tuple[Var, ...], dict[str, Var]]:
        """Append one move of all elements; gives the new state, and the numbers that are asked for, means of all."""
        form = scoped(self.move.step, self.scope)
        info = dict(zip(self.move.info, form.outputs[self.move.size :], strict=True))
        wanted = form.outputs[: self.move.size], {name: info[name] for name in names}
        form = without_dead_code(replace(form, outputs=listed(wanted)))
        after, numbers = filled(wanted, _for_each(block, form, given.shared, state, self.plate))
        return after, {name: self._mean(block, name, x, given.log_weight) for name, x in numbers.items()}

    def _mean(self, block: Block, name: str, number: Var, log_weight: Var) -> Var:
        """Append the mean of a number over all elements."""
        if not name.startswith(SIGNAL):
            return of_particles(block, name, number, log_weight)
        accepted: Var = block.det(_accepted, number, label="acceptance")
        return accepted


def moved(on: Point, population: Population, kernel: Any, steps: int) -> Population:
    """Append moves of every particle at a point of a path; the last states remain."""
    block, plate = population.block, population.plate
    move = move_of(kernel, block, on, plate)
    state = move.entered(block, population.values, plate)
    move = piloted(population, move, population.values, state, population.log_weight, plate)
    chain = Chain(move, plate, (*population.scope, f"move{population.stage}"))
    ran = chain.run(block, state, population.log_weight, steps, collect=False)
    pending = on if ran.memory is None else replace(on, memory=ran.memory)
    return noted(population, ran.info).next_stage(values=move.left(block, ran.last, plate), pending=pending)


def noted(population: Population, info: Mapping[str, Var]) -> Population:
    """Leave the numbers of the moves."""
    for name, number in info.items():
        population.trail.note(name, number)
    return population


def piloted(
    population: Population, move: Move, state: Sequence[Var], carried: Sequence[Var], log_weight: Var, plate: Plate
) -> Move:
    """Append moves of a few particles, by which a kernel learns before the others move; where they went is forgotten.

    The measures of two stages may want steps of different sizes, and a stage in which nothing moves is lost. Of a
    kernel of several parts the one that learns moves them, so that the others are not compiled twice.

    Args: state: of the particles; carried: the same as the kernel carries it.
    """
    if move.learning is None:
        return move
    block, size = population.block, min(PILOTS, plate.size)
    few, stride = Plate("pilot", size), plate.size // size
    index = block.det(lambda: jnp.arange(size) * stride, label="a few of them", adds=(few,))
    source = carried if move.teacher is None else state
    *start, weight = gather(block, (*source, log_weight), index, plate, (few,))
    scope = (*population.scope, f"pilot{population.stage}")
    if move.teacher is None:
        return Chain(move, few, scope).pilot(block, start, weight)
    taught = Chain(move.teacher, few, scope).pilot(block, move.teacher.entered(block, start, few), weight)
    return replace(move, shared=taught.shared, learning=taught.learning)


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
