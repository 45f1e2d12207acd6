"""Move: apply a kernel to every particle of a population whose values are a program's choices.

Law: a kernel that keeps the program's measure, by itself or by weights of its own, keeps the population's, whatever
weights the particles have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from lawful.errors import LawfulError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.liveness import without_dead_code
from lawful.passes.add_plate import lift
from lawful.passes.thread_sites import score

from ...contract import PRESERVES, Transformer
from ...representations.absent_elements import refuse_absent
from ...representations.densities_of import exact, scoped, scored
from ...representations.population import Population, weighed_by
from ...transformers.rejuvenation import moved as moved_on_path
from ...transformers.temper import OnPath
from ..combine.mh import as_kernel


@runtime_checkable
class Moving(Protocol):
    """What stands at a pause of a program, which is a target of its own for kernels."""

    def move(self, population: Population, kernel: Any) -> Population:
        """Apply a kernel once to each particle."""


def move(kernel: Any) -> Transformer:
    """Apply a kernel once to each particle of a population that was spawned from a traced program.

    >>> from lawful.inference import kernels
    >>> move(kernels.mh())
    move(mh(single_site()))
    """
    kernel = as_kernel(kernel)
    return Transformer(f"move({kernel!r})", lambda population: _move(population, kernel), PRESERVES)


def _move(population: Population, kernel: Any) -> Population:
    if isinstance(population.pending, OnPath):
        return moved_on_path(population.pending, population, kernel, 1)
    if isinstance(population.pending, Moving):
        return population.pending.move(population, kernel)
    view = population.source
    if view is None:
        raise LawfulError(
            "move: the population has no choices to move. Fix: spawn it from a traced program, as in "
            "Trace >> spawn(n) >> resample(scheme) >> move(kernel)."
        )
    block, plate = population.block, population.plate
    values = population.values[view.recorded.own :]
    plated = [False] * len(population.inputs) + [plate in v.plates for v in values]
    lifted = lift(moved(view.program, kernel), plate, plated)
    form = scoped(lifted.form, (*population.scope, f"move{population.stage}"))
    outputs = block.splice(form, [*population.inputs, *values])
    if lifted.weighted:
        outputs, population = outputs[:-1], weighed_by(population, outputs[-1])
    return population.next_stage(values=outputs)


def moved(program: Form, kernel: Any) -> Form:
    """Write one step of a kernel on the choices of a program; its factors, if it has any, weigh the step.

    Inputs: the program's, then values and flags of its choices. Outputs: what the program returns, values, flags.
    """
    refuse_absent(kernel, program, "move")
    built = exact(kernel.build(program), "move", weighs=True)
    block = Block()
    inputs = tuple(v.like() for v in program.inputs)
    state = built.form.inputs[len(inputs) : len(inputs) + built.size - 1]
    given = tuple(v.like() for v in state)
    values = given[: len(built.choices)]
    log_density, _ = scored(block, program, inputs, values)
    after = block.splice(built.form, [*inputs, *given, log_density])[: built.size - 1]
    returned = _returned(block, program, inputs, after[: len(built.choices)])
    return without_dead_code(block.form((*inputs, *given), (*returned, *after)))


def _returned(block: Block, program: Form, inputs: Sequence[Var], values: Sequence[Var]) -> Sequence[Var]:
    return score(program).spliced(block, [*inputs, *values]).own
