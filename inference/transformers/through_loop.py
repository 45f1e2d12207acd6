"""Through a loop: a suspended population in a loop of its program: a step done at every pause, as one loop of the Form.

Law: the new loop does at each of its steps what the step does at one pause. Its carry holds the state of the program,
the weights, and whatever else later parts of the program read and resampling has to move along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Loop, Plate, Var
from lawful.form.builder import Block, total
from lawful.form.bundles import filled, listed
from lawful.form.choices import choices_of
from lawful.passes.add_plate import Lifted, lift
from lawful.passes.checked_draws import with_checked_draws

from ..contract import Transformer
from ..representations.conditional import ahead, on_reference
from ..representations.population import (
    Carried,
    History,
    Population,
    Shed,
    Suspended,
    Trail,
    follow,
    gained,
    gather,
    one_ancestry,
    settled,
)
from ..representations.sequential import Sequential
from .moves_at_pauses import Target, rejuvenated, replayed, until
from .resample import push_evidence


@dataclass(frozen=True)
class Values:
    """The values at a pause in a loop, of the particles, or those of the program that they stand for.

    Attributes:
        constants: those of the loop's constants that vary with the particle.
        waiting: what later parts of the program read.
        state: what the loop carries.
        held: the choices of the loop, one array of all steps each, where they are held.
    """

    constants: tuple[Var, ...]
    waiting: tuple[Var, ...]
    state: tuple[Var, ...]
    held: tuple[Var, ...]


@dataclass(frozen=True)
class Row:
    """What the new loop reads at a step: a row of what the program's loop reads, and its number if choices are held."""

    xs: tuple[Var, ...]
    index: Var | None


@dataclass(frozen=True)
class Noted:
    """What a step leaves: who descends from whom, numbers for the diagnostics, and what the program's step gave out."""

    ancestors: Var
    stats: dict[str, Var]
    emitted: tuple[Var, ...]


@dataclass(frozen=True)
class Step:
    """The pause before a step of a loop, inside the body of the new loop.

    Attributes:
        cut: the program in segments.
        loop: the program's loop.
        body: its lifted body.
        names: what the population's values stand for.
        constants: the loop's constants that all particles share.
        row: what the loop reads at this step.
        held: where the choices are held, how they are.
    """

    cut: Sequential
    loop: Loop
    body: Lifted
    names: Values
    constants: dict[Var, Var]
    row: Row
    held: Held | None = None

    def values(self, population: Population) -> Values:
        """Give the population's values by what they are."""
        return filled(self.names, population.values)

    def reads(self, now: Values) -> tuple[Var, ...]:
        """List what the step of the program reads."""
        own = self.constants | dict(zip(self.names.constants, now.constants, strict=True))
        return (*(own[v] for v in self.loop.constants), *now.state, *self.row.xs)

    def advance(self, population: Population) -> Population:
        """Run one step; its factors join the weights."""
        block, plate, now = population.block, population.plate, self.values(population)
        outputs = block.splice(self.body.form, self.reads(now))
        if self.body.weighted:
            population = gained(population, outputs[-1], self.body.checked)
            outputs = outputs[:-1]
        state, ys = self.loop.split_out(outputs)
        now = replace(now, state=tuple(state))
        if self.held is not None:
            now, ys = replace(now, held=self.held.noted(block, plate, now.held, ys)), []
        population.trail.emitted = ys
        population.trail.emitted_at = len(population.trail.ancestors)
        return replace(population, values=listed(now), pending=None)

    def on_reference(self, population: Population) -> Var:
        """Append the log density of this step at the reference, from where each particle stands."""
        reads = self.reads(self.values(population))
        return ahead(population.block, on_reference(self.loop.body), population.plate, reads)

    def move(self, population: Population, kernel: Any) -> Population:
        """Move the choices made so far by a kernel that keeps the program up to here."""
        target = self.held.target if self.held is not None else Target(self.cut, self.body.form, (), ())
        return rejuvenated(population, target, kernel)


@dataclass(frozen=True)
class Held:
    """The choices of a loop that are held: one array of all steps per choice, filled step by step.

    Attributes:
        target: the program up to the pause.
        index: the number of the step.
        places: for each choice of the loop, its position among what a step gives out.
    """

    target: Target
    index: Var
    places: tuple[int, ...]

    def noted(self, block: Block, plate: Plate, buffers: Sequence[Var], ys: Sequence[Var]) -> tuple[Var, ...]:
        """Write the choices of this step into their arrays."""

        def write(buffer: jax.Array, value: jax.Array, index: jax.Array) -> jax.Array:
            return buffer.at[index].set(value)

        pairs = zip(buffers, (ys[place] for place in self.places), strict=True)
        return tuple(block.det(write, b, y, self.index, label="note choice", plates=(plate,)) for b, y in pairs)


def through_loop(population: Population, step: Transformer, before: Suspended, loop: Loop) -> Population:
    """Do a step at every pause of the loop that comes next."""
    if population.weight is None or population.ess is None:
        population = push_evidence(population)
    block, plate, cut = population.block, population.plate, before.cut
    position = before.position + 1
    now = dict(zip(before.names, population.values, strict=True))
    constants, init, xs = (tuple(now[v] for v in group) for group in (loop.constants, loop.init, loop.xs))
    assert not any(plate in v.plates for v in xs)  # they are read by index, see `indexed`
    lifted = _lift_body(loop, plate, constants, init)
    varying = [v for v in before.names if plate in now[v].plates and v not in loop.constants]
    names = Values(
        tuple(v for v in loop.constants if plate in now[v].plates),
        tuple(v for v in varying if v in cut.live[position]),
        loop.carry_out,
        tuple(y for y in loop.ys if y in cut.choices.values()),
    )
    left = {v: now[v] for v in varying if v in cut.kept[position] and v not in cut.live[position]}
    shed = (*before.shed, Shed(len(population.trail.ancestors), left)) if left else before.shed
    start = Values(
        tuple(now[v] for v in names.constants),
        tuple(now[v] for v in names.waiting),
        init,
        tuple(_empty(block, plate, y) for y in names.held),
    )
    state = tuple(v.like() for v in loop.split(lifted.form.inputs)[1])
    stage = _Stage(population, step, before, loop, lifted, names)
    shared = tuple(v for v in loop.constants if plate not in now[v].plates)
    length, index = loop.length, None
    if cut.hold:
        index = block.det(lambda: jnp.arange(length, dtype=jnp.int32), label="steps")
    carried, noted = block.scan(
        stage.written,
        length,
        ({v: now[v] for v in shared}, population.inputs if cut.hold else ()),
        population.carried(start),
        Row(xs, index),
        reverse=loop.reverse,
        carried=population.carried(replace(start, state=state)),
    )
    trail = population.trail
    entry = History(loop, noted.ancestors, noted.emitted, constants, xs)
    trail = Trail([*trail.ancestors, entry], stats=[*trail.stats, noted.stats])
    after = population.at(carried, trail=trail, stage=population.stage + 1)
    later = {v: x for v, x in now.items() if plate not in x.plates}
    later |= zip(listed(names), listed(carried.values), strict=True)
    wanted = [y for y in loop.ys if y in cut.live[position] and y not in later]
    if wanted:
        own = replayed(after, cut, position, wanted, later) if cut.hold else follow(block, plate, entry)[1]
        later |= {y: own[y] for y in wanted}
    return settled(after, cut, position, later, shed)


def _empty(block: Block, plate: Plate, value: Var) -> Var:
    """Append zeros for all steps of a choice."""
    shape, dtype = (plate.size, *value.shape), value.dtype
    return block.det(lambda: jnp.zeros(shape, dtype), label="no choice yet", adds=(plate,))


@dataclass(frozen=True)
class _Stage:
    """The body of the new loop: the step at one pause.

    Attributes:
        population: what comes into the loop.
        step: what is done at the pause.
        before: the pause before the loop.
        loop: the program's loop.
        lifted: its lifted body.
        names: what the population's values stand for.
    """

    population: Population
    step: Transformer
    before: Suspended
    loop: Loop
    lifted: Lifted
    names: Values

    def written(
        self, block: Block, shared: tuple[dict[Var, Var], tuple[Var, ...]], carried: Carried, row: Row
    ) -> tuple[Carried, Noted]:
        """Write it, from what all steps read, what is carried, and the row of this step."""
        before, loop, plate = self.before, self.loop, self.population.plate
        constants, inputs = shared
        held = None if row.index is None else self.held(block, inputs, row.index)
        name = f"step{before.position}" if before.position else "step"
        pending = Step(before.cut, loop, self.lifted, self.names, constants, row, held)
        empty = Population(block, (), plate, carried.log_weight, (), scope=(*self.population.scope, name))
        after = self.step(empty.at(carried, pending=pending))
        if isinstance(after.pending, Step):
            raise LawfulError(f"repeat_to_end: the step {self.step.name} does not advance. Fix: put Advance into it.")
        if after.weight is None or after.ess is None:
            after = push_evidence(after)
        trail = after.trail
        emitted = tuple(trail.emitted)
        if trail.ancestors[trail.emitted_at :]:  # resampled after the step: what it gave out moves along
            later = one_ancestry(block, trail.ancestors[trail.emitted_at :], plate)
            emitted = gather(block, emitted, later, plate, (plate,))
        stats = trail.stats[0] if len(trail.stats) == 1 else _merged(block, trail.stats)
        values = filled(carried.values, after.values)
        return after.carried(values), Noted(one_ancestry(block, trail.ancestors, plate), stats, emitted)

    def held(self, block: Block, inputs: tuple[Var, ...], index: Var) -> Held:
        """Say what kernels move at a pause in the loop."""
        cut, position, loop = self.before.cut, self.before.position, self.loop
        if loop.unrolled:
            raise UnsupportedProgramError(
                "smc: the choices of a loop that Python wrote step by step cannot be moved while it runs. Fix: write "
                "it as a lawful.scan, or leave out move=."
            )
        started = None
        if not choices_of(cut.so_far(position, ())):
            first = loop.length - 1 if loop.reverse else 0
            started = block.det(lambda i: i != first, index, label="any step done?")
        target = Target(cut, until(cut, position, loop), (*inputs, index), listed(self.names), started)
        return Held(target, index, tuple(loop.ys.index(y) for y in self.names.held))


def _merged(block: Block, stages: Sequence[dict[str, Var]]) -> dict[str, Var]:
    """Join the numbers of a step that weighed more than once: increments add up, of the others the last counts."""
    found: dict[str, Var] = {}
    for stage in stages:
        for name, value in stage.items():
            if name == "log_evidence_increment" and name in found:
                value = total(block, (found[name], value))
            found[name] = value
    return found


def _lift_body(loop: Loop, plate: Plate, constants: Sequence[Var], init: Sequence[Var]) -> Lifted:
    """Lift the body until the set of carries that vary with the particle no longer grows."""
    carried = [plate in v.plates for v in init]
    body = with_checked_draws(loop.body)
    while True:
        plated = [*(plate in v.plates for v in constants), *carried, *[False] * len(loop.xs)]
        must = [*carried, *[False] * (len(loop.body.outputs) - len(carried))]
        lifted = lift(body, plate, plated, carried=must)
        grown = [c or plate in v.plates for c, v in zip(carried, lifted.form.outputs[: len(carried)], strict=True)]
        if grown == carried:
            return lifted
        carried = grown
