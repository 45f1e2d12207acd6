"""Spawn: a population of independent copies of a program.

Law: [[spawn(n)(p)]] = [[p]]: each copy is weighted by 1/n.
"""

from __future__ import annotations

from dataclasses import replace

from lawful.errors import LawfulError
from lawful.form import Form, Plate
from lawful.form.builder import Block
from lawful.passes.add_plate import lift
from lawful.passes.checked_draws import with_checked_draws

from ..contract import PRESERVES, Transformer
from ..representations.densities_of import refuse_improper
from ..representations.population import Population, equal_log_weight
from ..representations.sequential import Sequential
from ..representations.suspended import settled
from ..representations.tempered import Tempered
from ..representations.traced import Traced
from .temper import at_start


def spawn(n: int) -> Transformer:
    """Run n independent copies of a program, each with weight 1/n.

    Takes a Form (run to its end), a Traced (likewise, with its choices among the values) or a Sequential (run to its
    first pause), or a Tempered (drawn from its prior); gives a Population.
    """
    if n < 1:
        raise LawfulError(f"spawn: expected at least one particle, got {n}.", particles=n)
    return Transformer(f"spawn({n})", lambda source: _spawn(source, Plate("particle", n)), PRESERVES)


def _spawn(source: Form | Sequential | Traced | Tempered, plate: Plate) -> Population:
    if isinstance(source, Tempered):
        return at_start(source, plate)
    whole = source.form if isinstance(source, Sequential) else source
    refuse_improper(whole.program if isinstance(whole, Traced) else whole, f"spawn({plate.size})")
    form = source.prefix if isinstance(source, Sequential) else source
    form = form.recorded.form if isinstance(form, Traced) else form
    lifted = lift(with_checked_draws(form), plate, [False] * len(form.inputs))
    block = Block()
    outputs = block.splice(lifted.form, lifted.form.inputs)
    count = len(form.outputs)
    weight = outputs[count] if lifted.weighted else equal_log_weight(block, plate)[0]
    population = Population(block, lifted.form.inputs, plate, weight, outputs[:count])
    if isinstance(source, Sequential):
        return settled(population, source, 0, dict(zip(form.outputs, outputs, strict=False)))
    return replace(population, source=source) if isinstance(source, Traced) else population
