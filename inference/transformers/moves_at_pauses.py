"""Moves at pauses: kernels on a population at a pause, with the program up to the pause as their target.

Law: a kernel that keeps the measure of the program so far keeps that of the population, whatever its weights. What the
program computes from its choices is computed again from those that were moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError
from lawful.form import Form, Loop, Plate, Var
from lawful.form.builder import Block
from lawful.form.bundles import filled, like, listed
from lawful.form.choices import choices_of
from lawful.form.liveness import without_dead_code
from lawful.passes.add_plate import lift
from lawful.passes.thread_sites import score

from ..findings.move_statistics import of_particles, told
from ..representations.kernel_form import scoped
from ..representations.population import Population, equal_log_weight, weighed_by
from ..representations.sequential import Sequential
from .move import Moved, stepped


@dataclass(frozen=True)
class Target:
    """The program up to a pause, and where a population stands in it.

    Attributes:
        cut: the program in segments, its choices held.
        program: the program so far; its outputs are of no account.
        inputs: the population's values of the program's inputs.
        names: the value of the program that each value of the population is.
        started: whether anything was chosen before, as a value of the population's block; None where it is known.
    """

    cut: Sequential
    program: Form
    inputs: tuple[Var, ...]
    names: tuple[Var, ...]
    started: Var | None = None


def rejuvenated(population: Population, target: Target, kernel: Any) -> Population:
    """Apply a kernel once to the choices of every particle."""
    if not target.cut.hold:
        raise LawfulError(
            "move: the choices of the suspended program are not in view. Fix: suspend it by suspend(hold=True), or use "
            "inference.smc(model, move=kernel)."
        )
    choices = choices_of(target.program)
    if not choices:
        return population
    chosen = tuple(target.cut.choices[choice.address] for choice in choices)
    now = dict(zip(target.names, population.values, strict=True))
    block, plate = population.block, population.plate
    others = tuple(v for v, x in now.items() if v not in chosen and plate in x.plates)
    form, made = stepped(replace(target.program, outputs=others), kernel)
    made = replace(made, flags=())
    form = without_dead_code(replace(form, outputs=listed(made)))
    operands = target.inputs, tuple(now[v] for v in chosen)
    lifted = lift(form, plate, [plate in v.plates for v in listed(operands)], carried=[True] * len(form.outputs))
    moved = scoped(lifted.form, (*population.scope, f"move{population.stage}"))

    def step(block: Block, operands: Any) -> tuple[Moved, Var | None]:
        outputs = block.splice(moved, operands)
        return filled((made, outputs[-1] if lifted.weighted else None), outputs)

    if target.started is None:
        after, gain = step(block, operands)
    else:
        nothing = {name: _of_no_move(block, plate, number) for name, number in made.numbers.items()}
        zero = equal_log_weight(block, plate)[0] if lifted.weighted else None
        before = Moved(nothing, tuple(now[v] for v in others), operands[1], ()), zero
        index = block.det(lambda x: x.astype(jnp.int32), target.started, label="anything to move?")
        arms = (lambda _, given: given[1]), (lambda block, given: step(block, given[0]))
        after, gain = block.switch(index, arms, (operands, before), label="~move")
    for name, number in after.numbers.items():
        population.trail.note(told(name), of_particles(block, name, number, population.log_weight))
    if gain is not None:
        population = weighed_by(population, gain)
    now |= zip((*others, *chosen), (*after.returned, *after.values), strict=True)
    return population.next_stage(values=tuple(now[v] for v in target.names))


def _of_no_move(block: Block, plate: Plate, number: Var) -> Var:
    """Append the numbers of particles that have nothing to move: no count, and no rate."""
    floating = jnp.issubdtype(number.dtype, jnp.floating)
    nothing = jnp.full((plate.size, *number.full_shape), jnp.nan if floating else 0, number.dtype)
    none: Var = block.det(lambda: nothing, label="nothing moved", adds=(plate,))
    return none


def replayed(
    population: Population, cut: Sequential, position: int, wanted: Sequence[Var], now: dict[Var, Var]
) -> dict[Var, Var]:
    """Compute values of the program after a segment from the choices that are held."""
    program = cut.so_far(position, wanted)
    answered = score(program)
    form = without_dead_code(replace(answered.form, outputs=answered.parts.own))
    operands = [*population.inputs, *(now[cut.choices[choice.address]] for choice in answered.choices)]
    lifted = lift(form, population.plate, [population.plate in v.plates for v in operands]).form
    return dict(zip(wanted, population.block.splice(lifted, operands), strict=True))


def until(cut: Sequential, position: int, loop: Loop) -> Form:
    """Give the program after a segment and the steps of the loop that follows that come before a given one.

    Its inputs are those of the program, then the number of the step.
    """
    block = Block()
    block.constants.extend(cut.form.constants)
    block.nodes.extend(node for segment in cut.segments[: position + 1] for node in segment.nodes)
    length, backwards = loop.length, loop.reverse
    now = Var((), jnp.dtype("int32"))
    steps = block.det(lambda: jnp.arange(length, dtype=jnp.int32), label="steps")
    inner, now_in, step_in = Block(), now.like(), now.like()
    ins = like(loop.body.inputs)

    past = inner.det(
        lambda i, n: (i > n if backwards else i < n).astype(jnp.int32), step_in, now_in, label="step is past?"
    )
    skip, given = Block(), like(ins)
    zeros = [skip.constant(np.zeros(v.shape, v.dtype)) for v in loop.split_out(loop.body.outputs)[1]]
    nothing = skip.form(given, (loop.split(given)[1], zeros))
    outs = inner.branch(past, (nothing, loop.body), ins, loop.body.outputs, label="~past")
    body = inner.form((now_in, ins, step_in), outs)
    block.nodes.append(replace(loop, body=body, constants=(now, *loop.constants), xs=(*loop.xs, steps)))
    return block.form((*cut.form.inputs, now), ())
