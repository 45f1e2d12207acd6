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
from lawful.form import Form, Loop, Plate, Var
from lawful.form.builder import Block, total
from lawful.form.choices import choices_of
from lawful.passes.add_plate import Lifted, lift
from lawful.passes.checked_draws import with_checked_draws

from ..contract import Transformer
from ..representations.conditional import ahead, on_reference
from ..representations.population import Population, Trail, gained, gather
from ..representations.sequential import Sequential
from ..representations.suspended import History, Shed, Suspended, follow, one_ancestry, settled
from .moves_at_pauses import Target, rejuvenated, replayed, until
from .resample import push_evidence


@dataclass(frozen=True)
class Step:
    """The pause before a step of a loop, inside the body of the new loop.

    Attributes:
        cut: the program in segments.
        loop: the program's loop.
        body: its lifted body.
        constants: the loop's constants that all particles share.
        xs: the values that the loop scans over, at this step.
        n_state_constants: how many of the population's values come before the carry: constants of the loop that vary
            with the particle, then what waits for later parts of the program.
        order: where each input of the body stands among constants, values and xs.
        held: where the choices are held, how they are.
    """

    cut: Sequential
    loop: Loop
    body: Lifted
    constants: tuple[Var, ...]
    xs: tuple[Var, ...]
    n_state_constants: int
    order: tuple[int, ...]
    held: Held | None = None

    def advance(self, population: Population) -> Population:
        """Run one step; its factors join the weights."""
        block, plate, values = population.block, population.plate, population.values
        buffers: tuple[Var, ...] = ()
        if self.held is not None:
            values, buffers = values[: -len(self.held.places) or None], values[len(values) - len(self.held.places) :]
        inputs = [*self.constants, *values, *self.xs]
        outputs = block.splice(self.body.form, [inputs[i] for i in self.order])
        if self.body.weighted:
            population = gained(population, outputs[-1], self.body.checked)
            outputs = outputs[:-1]
        n_carry = len(values) - self.n_state_constants
        carry, ys = outputs[:n_carry], outputs[n_carry:]
        if self.held is not None:
            buffers, ys = self.held.noted(block, plate, buffers, ys), ()
        population.trail.emitted = list(ys)
        population.trail.emitted_at = len(population.trail.ancestors)
        return replace(population, values=(*values[: self.n_state_constants], *carry, *buffers), pending=None)

    def on_reference(self, population: Population) -> Var:
        """Append the log density of this step at the reference, from where each particle stands."""
        plate = population.plate
        inputs = [*self.constants, *population.values, *self.xs]
        return ahead(population.block, on_reference(self.loop.body), plate, [inputs[i] for i in self.order])

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


@dataclass(frozen=True)
class _Parts:
    """The values at a pause before a loop, sorted.

    Attributes:
        shared: positions of the loop's constants that all particles share.
        moving: positions of those that vary with the particle.
        waiting: what later parts of the program read.
        left: what only the end reads.
        held: the loop's choices, where they are held.
    """

    shared: tuple[int, ...]
    moving: tuple[int, ...]
    waiting: tuple[Var, ...]
    left: tuple[Var, ...]
    held: tuple[Var, ...]


def through_loop(population: Population, step: Transformer, before: Suspended) -> Population:
    """Do a step at every pause of the loop that comes next."""
    if population.weight is None or population.ess is None:
        population = push_evidence(population)
    assert population.weight is not None and population.ess is not None
    block, plate, loop, cut = population.block, population.plate, before.next.loop, before.cut
    assert loop is not None
    now = dict(zip(before.names, population.values, strict=True))
    constants, init, xs = ([now[v] for v in group] for group in (loop.constants, loop.init, loop.xs))
    assert not any(plate in v.plates for v in xs)  # they are read by index, see `indexed`
    lifted = _lift_body(loop, plate, constants, init)
    parts = _parts(before, loop, now, constants, plate)
    shed = before.shed
    if parts.left:
        shed = (*shed, Shed(len(population.trail.ancestors), {v: now[v] for v in parts.left}))
    body, stats = _body(population, step, before, lifted, parts, now)
    # ---- the loop itself
    first = [*(constants[i] for i in parts.moving), *(now[v] for v in parts.waiting)]
    buffers = [_empty(block, plate, y) for y in parts.held]
    start = (*first, *init, *buffers, population.log_weight, population.weight, population.ess)
    shared = [constants[i] for i in parts.shared]
    if cut.hold:
        length = loop.length
        shared += population.inputs
        xs = [*xs, block.det(lambda: jnp.arange(length, dtype=jnp.int32), label="steps")]
    carry, ys = block.loop(body, loop.length, shared, start, xs, loop.reverse)
    state, (log_weight, weight, ess) = carry[:-3], carry[-3:]
    trail = population.trail
    entry = History(loop, ys[0], ys[1 + len(stats) :], (*constants, *xs))
    trail = Trail([*trail.ancestors, entry], stats=[*trail.stats, dict(zip(stats, ys[1:], strict=False))])
    after = replace(
        population, log_weight=log_weight, weight=weight, ess=ess, values=(), trail=trail, stage=population.stage + 1
    )
    moved = dict(zip([*(loop.constants[i] for i in parts.moving), *parts.waiting], state, strict=False))
    later = {v: x for v, x in now.items() if plate not in x.plates} | moved
    later |= zip((*loop.carry_out, *parts.held), state[len(first) :], strict=True)
    wanted = [y for y in loop.ys if y in cut.live[before.position + 1] and y not in later]
    if wanted:
        own = replayed(after, cut, before.position + 1, wanted, later) if cut.hold else follow(block, plate, entry)[1]
        later |= {y: own[y] for y in wanted}
    return settled(after, cut, before.position + 1, later, shed)


def _empty(block: Block, plate: Plate, value: Var) -> Var:
    """Append zeros for all steps of a choice."""
    shape, dtype = (plate.size, *value.shape), value.dtype
    return block.det(lambda: jnp.zeros(shape, dtype), label="no choice yet", adds=(plate,))


def _parts(before: Suspended, loop: Loop, now: dict[Var, Var], constants: Sequence[Var], plate: Plate) -> _Parts:
    moving = tuple(i for i, v in enumerate(constants) if plate in v.plates)
    shared = tuple(i for i, v in enumerate(constants) if plate not in v.plates)
    cut, position = before.cut, before.position + 1
    carried = {loop.constants[i] for i in moving}
    own = [v for v in before.names if plate in now[v].plates and v not in carried]
    waiting = tuple(v for v in own if v in cut.live[position])
    left = tuple(v for v in own if v in cut.kept[position] and v not in cut.live[position])
    held = tuple(y for y in loop.ys if y in cut.choices.values())
    return _Parts(shared, moving, waiting, left, held)


def _body(
    population: Population, step: Transformer, before: Suspended, lifted: Lifted, parts: _Parts, now: dict[Var, Var]
) -> tuple[Form, tuple[str, ...]]:
    """Write the body of the new loop: the step at one pause. Returns it with the names of its numbers."""
    loop, plate = before.next.loop, population.plate
    assert loop is not None and population.weight is not None and population.ess is not None
    n_const, n_carry = len(loop.constants), len(loop.init)
    body_in, inner = lifted.form.inputs, Block()
    c_in = tuple(body_in[i].like() for i in parts.shared)
    k_in = tuple([*(body_in[i].like() for i in parts.moving), *(now[v].like() for v in parts.waiting)])
    s_in = tuple(v.like() for v in body_in[n_const : n_const + n_carry])
    x_in = tuple(v.like() for v in body_in[n_const + n_carry :])
    b_in = tuple(Var(y.shape, y.dtype, (plate,)) for y in parts.held)
    held = _held(inner, population, before, parts) if before.cut.hold else None
    more_c, more_x = ((), ()) if held is None else (held.target.inputs[:-1], held.target.inputs[-1:])
    order = _order(parts, n_const, n_carry + len(x_in))
    weights_in = tuple(v.like() for v in (population.log_weight, population.weight, population.ess))
    name = f"step{before.position}" if before.position else "step"
    inside = Population(
        inner, (), plate, weights_in[0], (*k_in, *s_in, *b_in), weights_in[1], weights_in[2],
        pending=Step(before.cut, loop, lifted, c_in, x_in, len(k_in), order, held),
        scope=(*population.scope, name),
    )  # fmt: skip
    after = step(inside)
    if isinstance(after.pending, Step):
        raise LawfulError(f"repeat_to_end: the step {step.name} does not advance. Fix: put Advance into it.")
    if after.weight is None or after.ess is None:
        after = push_evidence(after)
    assert after.weight is not None and after.ess is not None
    trail = after.trail
    emitted = trail.emitted
    if trail.ancestors[trail.emitted_at :]:  # resampled after the step: what it gave out moves along
        later = one_ancestry(inner, trail.ancestors[trail.emitted_at :], plate)
        emitted = list(gather(inner, emitted, later, plate, (plate,)))
    stats = _merged(inner, trail.stats)
    ancestors = one_ancestry(inner, trail.ancestors, plate)
    outputs = (*after.values, after.log_weight, after.weight, after.ess, ancestors, *stats.values(), *emitted)
    inputs = (*c_in, *more_c, *k_in, *s_in, *b_in, *weights_in, *x_in, *more_x)
    return inner.form(inputs, outputs), tuple(stats)


def _held(block: Block, population: Population, before: Suspended, parts: _Parts) -> Held:
    """Say what kernels move at a pause in the loop."""
    cut, position, loop = before.cut, before.position, before.next.loop
    assert loop is not None
    if loop.unrolled:
        raise UnsupportedProgramError(
            "smc: the choices of a loop that Python wrote step by step cannot be moved while it runs. Fix: write it as "
            "a lawful.scan, or leave out move=."
        )
    inputs, index = tuple(v.like() for v in population.inputs), Var((), jnp.dtype("int32"))
    names = (*(loop.constants[i] for i in parts.moving), *parts.waiting, *loop.carry_out, *parts.held)
    started = None
    if not choices_of(cut.so_far(position, ())):
        first = loop.length - 1 if loop.reverse else 0
        started = block.det(lambda i: i != first, index, label="any step done?")
    target = Target(cut, until(cut, position, loop), (*inputs, index), names, started)
    return Held(target, index, tuple(loop.ys.index(y) for y in parts.held))


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
        grown = [c or plate in v.plates for c, v in zip(carried, lifted.form.outputs, strict=False)]
        if grown == carried:
            return lifted
        carried = grown


def _order(parts: _Parts, n_const: int, n_rest: int) -> tuple[int, ...]:
    """Where each input of the body stands among shared constants, moving ones, what waits, carry and xs."""
    position = {index: place for place, index in enumerate([*parts.shared, *parts.moving])}
    first = n_const + len(parts.waiting)
    return (*(position[i] for i in range(n_const)), *range(first, first + n_rest))
