"""Population(N): N weighted values meaning E[ sum_i w_i delta(x_i) ] / N, times the evidence already put forward.

Law: [[resample(p)]] = [[push_evidence(p)]] = [[p]] as unnormalised measures. A population is written as nodes of a
Form: its randomness (ancestors, picks) is made of sites, so a finite population can be enumerated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp

from lawful.addresses import Address
from lawful.form import Form, Plate, Var
from lawful.form.builder import Block, total
from lawful.form.bundles import listed
from lawful.passes.add_plate import gained_alive

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
        ancestors: its lineage: the ancestors of each resampling, and of each loop what `suspended.History` keeps.
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
    def moving(self) -> tuple[int, ...]:
        """Positions of the values that vary with the particle."""
        return tuple(i for i, v in enumerate(self.values) if self.plate in v.plates)


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
