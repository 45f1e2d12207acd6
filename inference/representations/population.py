"""Population(N): N weighted values meaning E[ sum_i w_i delta(x_i) ] / N, times the evidence already put forward.

Law: [[resample(p)]] = [[push_evidence(p)]] = [[p]] as unnormalised measures. A population is written as nodes of a
Form: its randomness (ancestors, picks) is made of sites, so a finite population can be enumerated.

Suspended at a pause of its program it keeps every value that a later part reads, and the end finds what only it reads.
A value fetched by lineage is the one that the particle, or the ancestor that it is a copy of, had when it was made.
Histories are never copied while the population runs: they are gathered once, backwards, at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from lawful.addresses import Address
from lawful.form import Form, Loop, Plate, Var
from lawful.form.builder import Block, total
from lawful.form.bundles import listed
from lawful.passes.add_plate import gained_alive, lift
from lawful.passes.checked_draws import with_checked_draws

from ..contract import PRESERVES, Transformer
from .sequential import Segment, Sequential
from .traced import Traced

PREFIX = "~population"


@dataclass(frozen=True)
class Carried:
    """What a loop carries of a population: its values, which may be a record, and its weights in all their forms."""

    values: Any
    log_weight: Var
    weight: Var
    ess: Var


@dataclass
class Trail:
    """What a population leaves behind on its way.

    Attributes:
        ancestors: its lineage: the ancestors of each resampling, and of each loop what `History` keeps.
        emitted: in a step of a loop, what the step gives out.
        emitted_at: how many resamplings of the step came before that.
        stats: numbers for the diagnostics, one dictionary a stage; those of a loop have an axis of steps.
        roots: which particle of the start each one descends from; None before the end, or where nothing resampled.
    """

    ancestors: list[Any] = field(default_factory=list)
    emitted: list[Var] = field(default_factory=list)
    emitted_at: int = 0
    stats: list[dict[str, Var]] = field(default_factory=lambda: [{}])
    roots: Var | None = None

    def note(self, name: str, value: Var) -> None:
        """Leave a number of the stage; a second number of one name belongs to the next stage."""
        if name in self.stats[-1]:
            self.stats.append({})
        self.stats[-1][name] = value


@dataclass(frozen=True)
class Population:
    """A population under construction.

    Attributes:
        block: the nodes written so far.
        inputs: the inputs of the Form.
        plate: the particle axis.
        log_weight: natural log of the weights, with the plate.
        weight: the same weights up to a factor, the largest being one, or None before `push_evidence`.
        ess: their effective sample size, or None before `push_evidence`.
        values: the current value of each output of the program, by position; those without the plate are shared.
        pending: the suspended rest of the program, or None when it has run to its end.
        trail: what the steps leave behind.
        scope: what stands before the addresses of the population's own sites.
        source: the traced program whose outputs and choices the values are, or None.
        stage: how many transformers have added sites, for their addresses.
    """

    block: Block
    inputs: tuple[Var, ...]
    plate: Plate
    log_weight: Var
    values: tuple[Var, ...]
    weight: Var | None = None
    ess: Var | None = None
    pending: Any = None
    trail: Trail = field(default_factory=Trail)
    source: Traced | None = None
    scope: tuple[str, ...] = (PREFIX,)
    stage: int = 0

    def address(self, name: str) -> Address:
        """Name a site of the population."""
        return (*self.scope, f"{name}{self.stage}" if self.stage else name)

    def next_stage(self, **changes: Any) -> Population:
        """Return the population after a transformer that added sites."""
        return replace(self, stage=self.stage + 1, **changes)

    def carried(self, values: Any) -> Carried:
        """Give what a loop carries, with a record of its values; evidence has been pushed."""
        assert self.weight is not None and self.ess is not None
        return Carried(values, self.log_weight, self.weight, self.ess)

    def at(self, carried: Carried, **changes: Any) -> Population:
        """Give the population in or after a loop that carries it."""
        return replace(
            self, values=listed(carried.values), log_weight=carried.log_weight, weight=carried.weight, ess=carried.ess,
            **changes,
        )  # fmt: skip

    @property
    def moving(self) -> dict[int, Var]:
        """The values that vary with the particle, by position."""
        return {i: v for i, v in enumerate(self.values) if self.plate in v.plates}


def mean_weights(log_weight: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Normalise log weights: (weights with largest one, log weights of mean one, log mean weight, effective size).

    The two scales save an array operation a step: schemes and picks need the weights only up to a factor.

    Weights that are all zero stay zero, with log mean -inf and effective sample size 0, so that nothing after them is
    NaN and resampling knows them; a NaN weight makes the log mean NaN.

    >>> w, lw, log_mean, ess = mean_weights(jnp.log(jnp.array([1.0, 3.0])))
    >>> w.tolist(), round(float(jnp.exp(log_mean)), 6), round(float(ess), 6)
    ([0.333..., 1.0], 2.0, 1.6)
    """
    size = log_weight.shape[0]
    top = jnp.max(log_weight)
    shift = jnp.where(jnp.isfinite(top), top, 0.0)
    scaled = jnp.exp(log_weight - shift)
    total = jnp.sum(scaled)
    alive = total > 0
    mean = jnp.where(alive, total / size, 1.0)
    finite = shift + jnp.log(mean)
    log_mean = jnp.where(alive, finite, jnp.where(jnp.isnan(total), jnp.nan, -jnp.inf))
    ess = jnp.where(alive, total * total / jnp.sum(scaled * scaled), 0.0)
    # The guards are on numbers, not on arrays: a dead population keeps log weights of -inf.
    return scaled, log_weight - jnp.where(alive, finite, 0.0), log_mean, ess


def take(values: jax.Array, index: jax.Array) -> jax.Array:
    """Gather particles along the leading axis; indices are in range by construction."""
    return values.at[index].get(mode="promise_in_bounds", indices_are_sorted=False)


def gather(block: Block, values: Sequence[Var], index: Var, plate: Plate, adds: tuple[Plate, ...]) -> tuple[Var, ...]:
    """Append the gathers of all values that have the plate; the others are shared and stay."""
    return tuple(block.det(take, v, index, label="gather", adds=adds) if plate in v.plates else v for v in values)


@dataclass(frozen=True)
class EqualWeights:
    """Give equal weights and their logs, by the effective sample size; a population without weight stays so."""

    size: int

    def __call__(self, ess: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Write them."""
        dead = ess == 0
        return jnp.full(self.size, jnp.where(dead, 0.0, 1.0)), jnp.full(self.size, jnp.where(dead, -jnp.inf, 0.0))


def equal_log_weight(block: Block, plate: Plate) -> tuple[Var, Var]:
    """Append log weights zero and weights one."""
    shape = (plate.size,)
    dtype = jnp.result_type(float)
    zeros = block.det(lambda: jnp.zeros(shape, dtype), label="zeros", adds=(plate,))
    ones = block.det(lambda: jnp.ones(shape, dtype), label="ones", adds=(plate,))
    return zeros, ones


def weighed_by(population: Population, term: Var) -> Population:
    """Add a term to the log weight of each particle; one without weight stays so."""
    log_weight = population.block.det(
        gained_alive, population.log_weight, term, label="weigh", plates=(population.plate,)
    )
    return replace(population, log_weight=log_weight, weight=None, ess=None)


def gained(population: Population, term: Var, checked: bool) -> Population:
    """Add what a part of the program weighs; where draws are checked, particles without weight stay so."""
    if checked:
        return weighed_by(population, term)
    log_weight = total(population.block, (population.log_weight, term), (population.plate,))
    return replace(population, log_weight=log_weight, weight=None, ess=None)


def closed(population: Population, outputs: Sequence[Var]) -> Form:
    """Close the population's block into a Form."""
    return population.block.form(population.inputs, outputs)


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

    `now` has the population's value of each value of the program that is at hand; `shed` was left behind before.
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
