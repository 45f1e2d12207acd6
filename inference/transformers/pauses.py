"""Pauses: a population of copies of a program, a step at every pause of it, then the run to its end.

Law: [[spawn(n)(p)]] = [[p]], each copy being weighted by 1/n; finish . advance = finish, and a step done at every pause
keeps the measure when the step does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lawful.errors import LawfulError
from lawful.form import Form, Plate
from lawful.form.builder import Block
from lawful.inspection.lint.improper_priors import refuse_improper
from lawful.passes.add_plate import lift
from lawful.passes.checked_draws import with_checked_draws

from ..contract import PRESERVES, Transformer
from ..representations.population import Advance, Population, Suspended, equal_log_weight, run_part, settled, unwind
from ..representations.sequential import Sequential
from ..representations.tempered import Tempered
from ..representations.traced import Traced
from .moves_at_pauses import Target, rejuvenated, replayed
from .temper import OnPath, at_start
from .through_loop import through_loop


def spawn(n: int) -> Transformer:
    """Run n independent copies of a program, each with weight 1/n.

    Takes a Form (run to its end), a Traced (likewise, with its choices among the values) or a Sequential (run to its
    first pause), or a Tempered (drawn from its prior); gives a Population.
    """
    if not isinstance(n, int) or n < 1:
        raise LawfulError(f"spawn: expected a whole number of particles, at least one, got {n!r}.", particles=n)
    return Transformer(f"spawn({n})", lambda source: _spawn(source, Plate("particle", n)), PRESERVES)


def _spawn(source: Form | Sequential | Traced | Tempered, plate: Plate) -> Population:
    if isinstance(source, Tempered):
        return at_start(source, plate)
    whole = source.form if isinstance(source, Sequential) else source
    refuse_improper(whole.program if isinstance(whole, Traced) else whole, f"spawn({plate.size})")
    form = source.segments[0].form if isinstance(source, Sequential) else source
    form = form.recorded.form if isinstance(form, Traced) else form
    lifted = lift(with_checked_draws(form), plate, [False] * len(form.inputs))
    block = Block()
    outputs = block.splice(lifted.form, lifted.form.inputs)
    count = len(form.outputs)
    weight = outputs[count] if lifted.weighted else equal_log_weight(block, plate)[0]
    population = Population(block, lifted.form.inputs, plate, weight, outputs[:count])
    if isinstance(source, Sequential):
        return settled(population, source, 0, dict(zip(form.outputs, outputs[:count], strict=True)))
    return replace(population, source=source) if isinstance(source, Traced) else population


def repeat_to_end(step: Transformer) -> Transformer:
    """Do a step at every pause of a suspended population; the pauses of a loop are one loop of the Form."""
    return Transformer(f"({step.name})^T", lambda population: repeated(population, step), step.contract)


def repeated(population: Population, step: Transformer) -> Population:
    """Do a step at every pause that is left."""
    if isinstance(population.pending, OnPath):
        return population.pending.repeat(population, step)
    while isinstance(population.pending, Suspended) and not population.pending.at_the_end:
        segment = population.pending.next
        if segment.loop is not None:
            population = through_loop(population, step, population.pending, segment.loop)
        else:
            population = _through_stretch(population, step if segment.pauses else Advance, population.pending)
    return population


@dataclass(frozen=True)
class Stretch:
    """The pause before a part of the program without a pause inside."""

    suspended: Suspended

    def advance(self, population: Population) -> Population:
        """Run the part; its factors join the weights."""
        before = self.suspended
        now = dict(zip(before.names, population.values, strict=True))
        form = before.next.form
        outputs, population = run_part(population, form, [now[v] for v in form.inputs])
        now |= zip(form.outputs, outputs, strict=True)
        return settled(population, before.cut, before.position + 1, now, before.shed)

    def move(self, population: Population, kernel: Any) -> Population:
        """Move the choices made so far by a kernel that keeps the program up to here."""
        before = self.suspended
        program = before.cut.so_far(before.position, ())
        return rejuvenated(population, Target(before.cut, program, population.inputs, before.names), kernel)


def _through_stretch(population: Population, step: Transformer, before: Suspended) -> Population:
    if population.trail.stats[-1]:
        population.trail.stats.append({})
    after = step(replace(population, pending=Stretch(before)))
    if not isinstance(after.pending, Suspended):
        raise LawfulError(f"repeat_to_end: the step {step.name} does not advance. Fix: put Advance into it.")
    return after


def finish(population: Population) -> Population:
    """Run the rest of the program, each particle with its own history."""
    pending = population.pending
    if isinstance(pending, OnPath):
        return pending.finish(population)
    if not isinstance(pending, Suspended):
        return replace(population, pending=None)
    if not pending.at_the_end:
        return finish(repeated(population, Advance))
    found, roots = unwind(population.block, population.plate, population.trail.ancestors, pending.shed)
    found |= zip(pending.names, population.values, strict=True)
    form = pending.next.form
    if pending.cut.hold:
        found |= replayed(population, pending.cut, pending.position, form.inputs, found)
    outputs, population = run_part(population, form, [found[v] for v in form.inputs])
    population.trail.roots = roots
    return replace(population, values=outputs, pending=None)


Finish = Transformer("finish", finish, PRESERVES)
