"""Push evidence, and resample: the mean of the weights becomes a factor, and particles are replaced by their offspring.

Law: [[push_evidence(p)]] = [[p]]: what the weights lose the factor has. [[resample(p)]] = [[p]], always or where the
weights say so, for every scheme with E[offspring_i] = N w_i.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from lawful.addresses import Address
from lawful.form import Var
from lawful.form.builder import Block

from ..contract import PRESERVES, Transformer
from ..laws.invalid_weights import cleaned
from ..laws.resampling_schemes import Decided, Distinct, ResampleLaw
from ..laws.resampling_schemes import scheme as scheme_named
from ..representations.population import EqualWeights, Population, gather, identity, mean_weights

type When = Callable[[jax.Array, int], jax.Array]
type Draw = Callable[..., Var]
type Level = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
type Arm = Callable[..., Offspring]


@dataclass(frozen=True)
class Parents:
    """What is resampled: weights in all their forms, the values that vary with the particle, what a draw reads beside.

    Weights are up to a factor, their logs those of weights of mean one.
    """

    weight: Var
    log_weight: Var
    values: tuple[Var, ...]
    ess: Var
    beside: tuple[Var, ...] = ()


@dataclass(frozen=True)
class Offspring:
    """What resampling leaves; `n_unique`, the number of distinct ancestors, is None where they are not counted."""

    weight: Var
    log_weight: Var
    values: tuple[Var, ...]
    n_unique: Var | None
    ancestors: Var


@runtime_checkable
class Resampler(Protocol):
    """A scheme that resamples a population in a way of its own, as islands of particles do."""

    def transformer(self, when: When | None) -> Transformer:
        """Give the transformer, by a rule of when."""


def push_evidence(population: Population, nonfinite: str = "error") -> Population:
    """Bring the weights to mean one and put their mean forward as one factor.

    Weights without a meaning stay, but for two policies: "dead" reads NaN as zero, and "rejected" +inf as well, as a
    kernel does that refuses what it cannot weigh.
    """
    block, plate, log_weight = population.block, population.plate, population.log_weight
    if nonfinite in READ_AS_ZERO:
        read = READ_AS_ZERO[nonfinite]
        log_weight, broken = block.det(read, log_weight, label=f"{nonfinite}: zero", adds=[(plate,), ()])
        population.trail.note("n_nonfinite", broken)
    weight, log_weight, log_mean, ess = block.det(
        mean_weights, log_weight, label="normalise weights", adds=[(plate,), (plate,), (), ()]
    )
    block.factor(population.address("evidence"), log_mean)
    population.trail.note("log_evidence_increment", log_mean)
    population.trail.note("ess", ess)
    return population.next_stage(weight=weight, log_weight=log_weight, ess=ess)


def nan_is_dead(log_weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Read NaN as weight zero, and count."""
    broken = jnp.isnan(log_weight)
    return jnp.where(broken, -jnp.inf, log_weight), jnp.sum(broken, dtype=jnp.int32)


READ_AS_ZERO = {"dead": nan_is_dead, "rejected": cleaned}


def push_evidence_with(nonfinite: str = "error", *, again: bool = True) -> Transformer:
    """Push the evidence, with a policy for NaN weights; with `again=False` only where weights have changed since."""

    def apply(population: Population) -> Population:
        if population.weight is not None and population.ess is not None and not again:
            return population
        return push_evidence(population, nonfinite)

    return Transformer("push_evidence", apply, PRESERVES)


PushEvidence = Transformer("push_evidence", push_evidence, PRESERVES)


def resample(scheme: Any, when: When | None = None, *, counted: bool = True) -> Transformer:
    """Replace the particles by their offspring, with equal weights.

    Args:
        scheme: a resampling scheme with E[offspring_i] = N w_i, the name of one of `laws.resampling`, or a `Resampler`.
        when: a rule of (effective sample size, N); None resamples always.
        counted: whether the distinct ancestors are counted, for the diagnostics.

    >>> from lawful.inference import ess_below
    >>> resample("systematic", when=ess_below(0.5)).name
    'resample(systematic, when ess < 0.5 N)'
    """
    if isinstance(scheme, Resampler) and not isinstance(scheme, type):
        return scheme.transformer(when)
    scheme = scheme_named(scheme)
    name = f"resample({scheme}{'' if when is None else f', when {when!r}'})"

    def draw(block: Block, address: Address, weight: Var, *beside: Var) -> Var:
        size = weight.plates[0].size
        return block.site(address, ResampleLaw(scheme, size, size), (weight,))

    def apply(population: Population) -> Population:
        distinct = Distinct(population.plate.size, scheme.ascending) if counted else None
        return resampled(population, draw, when, distinct=distinct)

    return Transformer(name, apply, PRESERVES)


def resampled(
    population: Population,
    draw: Draw,
    when: When | None,
    beside: Sequence[Var] = (),
    arm: Arm | None = None,
    distinct: Distinct | None = None,
) -> Population:
    """Replace the particles by their offspring.

    Args:
        population: the population.
        draw: appends the draw of the ancestors, from their address, the weights, and what stands beside them.
        when: a rule of (effective sample size, N); None resamples always.
        beside: further values that the draw reads.
        arm: appends the draw and what follows from it, as `offspring` does, the default.
        distinct: counts the distinct ancestors, for the diagnostics.
    """
    if population.weight is None:
        population = push_evidence(population)
    assert population.weight is not None and population.ess is not None
    block, plate = population.block, population.plate
    arm = offspring if arm is None else arm
    moving = population.moving
    parents = Parents(population.weight, population.log_weight, tuple(moving.values()), population.ess, tuple(beside))

    def keep(block: Block, parents: Parents) -> Offspring:
        ancestors = identity(block, plate)
        number = None if distinct is None else block.det(distinct.all, label="all")
        return Offspring(parents.weight, parents.log_weight, parents.values, number, ancestors)

    def again(block: Block, parents: Parents) -> Offspring:
        return arm(block, population, draw, distinct, parents)

    if when is None:
        left = again(block, parents)
    else:
        index = block.det(Decided(when, plate.size), population.ess, label=f"{when!r}?")
        left = block.switch(index, (keep, again), parents, label="resample?")
        population.trail.note("resampled", index)
    if left.n_unique is not None:
        population.trail.note("n_unique", left.n_unique)
    values = list(population.values)
    for position, value in zip(moving, left.values, strict=True):
        values[position] = value
    population.trail.ancestors.append(left.ancestors)
    ess = population.ess if when is not None else None
    return population.next_stage(weight=left.weight, log_weight=left.log_weight, values=tuple(values), ess=ess)


def offspring(
    block: Block,
    population: Population,
    draw: Draw,
    distinct: Distinct | None,
    parents: Parents,
    level: Level | None = None,
) -> Offspring:
    """Draw ancestors; offspring weigh one, but those of a population without weight (ess 0) are dead, too.

    Args:
        block: where the nodes go.
        population: the population, for the addresses.
        draw: appends the draw.
        distinct: counts the distinct ancestors, or None.
        parents: what is resampled.
        level: gives other weights of the offspring, with their logs, from the weights and the effective sample size.
    """
    plate = population.plate
    ancestors = draw(block, population.address("ancestors"), parents.weight, *parents.beside)
    number = None if distinct is None else block.det(distinct, ancestors, label="distinct ancestors")
    if level is None:
        ones, zeros = block.det(EqualWeights(plate.size), parents.ess, label="equal weights", adds=(plate,))
    else:
        ones, zeros = block.det(level, parents.weight, parents.ess, label="weights by level", adds=(plate,))
    return Offspring(ones, zeros, gather(block, parents.values, ancestors, plate, (plate,)), number, ancestors)
