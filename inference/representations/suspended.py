"""Suspended: a population at a pause of its program: what has run, what the values are, what was left behind.

Law: a pause keeps every value that a later part of the program reads, and the end finds what only it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from lawful.form import Form, Var
from lawful.passes.add_plate import lift
from lawful.passes.checked_draws import with_checked_draws

from ..contract import PRESERVES, Transformer
from .lineage import Shed
from .population import Population, gained
from .sequential import Segment, Sequential


@dataclass(frozen=True)
class Suspended:
    """A population at a pause: the program, the last segment that is run, and what the values are.

    Attributes:
        cut: the program in segments.
        position: the last segment that is run.
        names: the value of the program that each value of the population is.
        shed: what was left behind for the end.
    """

    cut: Sequential
    position: int
    names: tuple[Var, ...]
    shed: tuple[Shed, ...] = ()

    @property
    def next(self) -> Segment:
        """The segment after the pause."""
        return self.cut.segments[self.position + 1]

    @property
    def at_the_end(self) -> bool:
        """Whether only the last segment is left."""
        return self.position == len(self.cut.segments) - 2


@runtime_checkable
class Advancing(Protocol):
    """What stands at a pause and can run to the next one."""

    def advance(self, population: Population) -> Population:
        """Run to the next pause."""


def settled(
    population: Population, cut: Sequential, position: int, now: dict[Var, Var], shed: tuple[Shed, ...] = ()
) -> Population:
    """Pause after a segment: keep what later segments read, leave behind what only the end reads.

    Args:
        population: the population; its values are replaced.
        cut: the program in segments.
        position: the segment that has run.
        now: the population's value of each value of the program that is at hand.
        shed: what was left behind before.
    """
    live = cut.live[position]
    gone = {v: x for v, x in now.items() if v in cut.kept[position] and v not in live}
    if gone:
        shed = (*shed, Shed(len(population.trail.ancestors), gone))
    pending = Suspended(cut, position, live, shed)
    return replace(population, values=tuple(now[v] for v in live), pending=pending)


def advance(population: Population) -> Population:
    """Run a suspended population to its next pause; a population that has ended stays."""
    pending = population.pending
    return pending.advance(population) if isinstance(pending, Advancing) else population


Advance = Transformer("advance", advance, PRESERVES)


def run_part(population: Population, form: Form, reads: Sequence[Var]) -> tuple[tuple[Var, ...], Population]:
    """Run a part of the program for every particle; new weights wait to be normalised."""
    block, plate = population.block, population.plate
    lifted = lift(with_checked_draws(form), plate, [plate in v.plates for v in reads])
    outputs = block.splice(lifted.form, reads)
    if lifted.weighted:
        population = gained(population, outputs[-1], lifted.checked)
    return outputs[: len(form.outputs)], population
