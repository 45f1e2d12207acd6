"""Suspended: a population at a pause of its program: what has run, what the values are, who descends from whom.

Law: a pause keeps every value that a later part of the program reads, and the end finds what only it reads. A value
fetched by lineage is the one that the particle, or the ancestor that it is a copy of, had when it was made. Histories
are never copied while the population runs: they are gathered once, backwards, at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp

from lawful.form import Form, Loop, Plate, Var
from lawful.form.builder import Block
from lawful.passes.add_plate import lift
from lawful.passes.checked_draws import with_checked_draws

from ..contract import PRESERVES, Transformer
from .population import Population, gained, gather, take
from .sequential import Segment, Sequential


@dataclass(frozen=True)
class History:
    """The steps of one loop: the ancestors of each step, and what each step gave out, by particle of that step.

    Where the choices are held, nothing is given out. `constants` and `xs` are what the program's loop reads.
    """

    loop: Loop
    ancestors: Var
    emitted: tuple[Var, ...]
    constants: tuple[Var, ...] = ()
    xs: tuple[Var, ...] = ()

    @property
    def outputs(self) -> dict[Var, Var]:
        """What the steps gave out, by output of the program's loop."""
        return dict(zip(self.loop.ys, self.emitted, strict=True)) if self.emitted else {}


@dataclass(frozen=True)
class Shed:
    """Values that only the end reads, by particle as it was after `depth` entries of the lineage."""

    depth: int
    values: dict[Var, Var]


type Lineage = Sequence[Var | History]


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
class Pause(Protocol):
    """What stands at a pause: it can run to the next one, and its choices so far can be moved."""

    def advance(self, population: Population) -> Population:
        """Run to the next pause."""

    def move(self, population: Population, kernel: Any) -> Population:
        """Apply a kernel once to the choices of each particle."""


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
    return pending.advance(population) if isinstance(pending, Pause) else population


Advance = Transformer("advance", advance, PRESERVES)


def run_part(population: Population, form: Form, reads: Sequence[Var]) -> tuple[tuple[Var, ...], Population]:
    """Run a part of the program for every particle; new weights wait to be normalised."""
    block, plate = population.block, population.plate
    lifted = lift(with_checked_draws(form), plate, [plate in v.plates for v in reads])
    outputs = block.splice(lifted.form, reads)
    if lifted.weighted:
        population = gained(population, outputs[-1], lifted.checked)
    return outputs[: len(form.outputs)], population


def identity(block: Block, plate: Plate) -> Var:
    """Append the index of each particle."""
    size = plate.size
    return block.det(lambda: jnp.arange(size, dtype=jnp.int32), label="identity")


def one_ancestry(block: Block, ancestors: Sequence[Var], plate: Plate) -> Var:
    """Compose the ancestors of several resamplings, the first one first."""
    if not ancestors:
        return identity(block, plate)
    index = ancestors[0]
    for later in ancestors[1:]:
        index = block.det(take, index, later, label="compose ancestors")
    return index


def fetch(block: Block, plate: Plate, values: dict[Var, Var], index: Var | None) -> dict[Var, Var]:
    """Append the values that the particles' ancestors had; without an index each is its own ancestor."""
    if index is None:
        return dict(values)
    return {v: gather(block, (x,), index, plate, _axes(index, plate))[0] for v, x in values.items()}


def follow(block: Block, plate: Plate, history: History, index: Var | None = None) -> tuple[Var, dict[Var, Var]]:
    """Follow a history backwards once, from the particles with the given indices at its end.

    Returns: the index of each one's ancestor before the loop, and the loop's outputs of each step, its own or those of
    its ancestor at that step.
    """
    own = history.outputs
    moving = {y: v for y, v in own.items() if plate in v.plates}
    start = identity(block, plate) if index is None else index

    def back(step: Block, _: Any, index: Var, row: tuple[Var, dict[Var, Var]]) -> tuple[Var, dict[Var, Var]]:
        ancestors, given = row
        picked = fetch(step, plate, given, index)
        return step.det(take, ancestors, index, label="parents"), picked

    root, ys = block.scan(
        back, history.loop.length, (), start, (history.ancestors, moving), reverse=not history.loop.reverse
    )
    return root, own | ys


def _axes(index: Var, plate: Plate) -> tuple[Plate, ...]:
    """Give what a gather makes: particles by the indices of many, one value by that of one."""
    return (plate,) if index.shape else ()


def unwind(
    block: Block, plate: Plate, lineage: Lineage, shed: Sequence[Shed], index: Var | None = None
) -> tuple[dict[Var, Var], Var | None]:
    """Go back through a lineage, from all particles or from the one with a given index.

    Returns: every value that was left behind, by last particle, and which particle of the start each descends from
    (None where nothing resampled).
    """
    found: dict[Var, Var] = {}
    for depth in range(len(lineage), -1, -1):
        for left in shed:
            if left.depth == depth:
                found = fetch(block, plate, left.values, index) | found
        if depth == 0:
            break
        entry = lineage[depth - 1]
        if isinstance(entry, History):
            index, ys = follow(block, plate, entry, index)
            found = ys | found
        else:
            index = entry if index is None else block.det(take, entry, index, label="compose ancestors")
    return found, index
