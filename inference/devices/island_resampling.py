"""Resampling on islands as a transformer: the same program on one device and on many.

Law: it keeps the unnormalised measure, as `resample` does: weights of particles within an island become its mean, and
islands that drift apart are resampled whole or mixed in pairs. Every random choice is a site, so that a finite
population of islands is enumerated exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lawful.addresses import Address
from lawful.errors import LawfulError
from lawful.form import Var
from lawful.form.builder import Block

from ..contract import PRESERVES, Transformer
from ..laws.resampling_schemes import Distinct, ess
from ..laws.systematic_resampling import systematic
from ..registered import stored_as
from ..representations.population import Population, gather, identity, one_ancestry
from ..transformers.resample import Offspring, Parents, When, offspring, resampled
from .island_laws import WholeLaw, WithinLaw


@stored_as("Islands")
@dataclass(frozen=True)
class Islands:
    """Particles on islands, each of which resamples its own.

    Attributes:
        number: how many islands; 0 stands for one on each device.
        tau: islands have drifted apart, and are resampled as wholes, where their effective number is below this
            fraction of their number.
    """

    number: int = 0
    tau: float = 0.5

    def on(self, devices: int, particles: int) -> Islands:
        """Put one island on each device where no number is given.

        Raises: LawfulError: the particles do not fill the islands.
        """
        placed = self if self.number else Islands(devices, self.tau)
        return checked(placed, particles)

    def transformer(self, when: When | None = None) -> Transformer:
        """Resample within islands, and mix those that have drifted apart."""
        return on_islands(self, when)

    def __str__(self) -> str:
        return f"islands({self.number}, tau={self.tau:g})"


def on_islands(islands: Islands, when: When | None = None) -> Transformer:
    """Resample within islands, and mix those that have drifted apart.

    Args:
        islands: how many, and how they mix.
        when: a rule of (effective sample size, N) for the resampling within; None resamples always.

    >>> on_islands(Islands(4)).name
    'resample(islands(4, tau=0.5))'
    """

    def apply(population: Population) -> Population:
        checked(islands, population.plate.size)

        def draw(block: Block, address: Address, weight: Var, *beside: Var) -> Var:
            return block.site(address, WithinLaw(islands.number, population.plate.size, systematic), (weight,))

        def arm(block: Block, population: Population, draw: Any, distinct: Any, parents: Parents) -> Offspring:
            left = offspring(block, population, draw, distinct, parents, Levels(islands.number))
            return _mixed(block, population, islands, left) if islands.number > 1 else left

        return resampled(population, draw, when, arm=arm, distinct=Distinct(population.plate.size, ascending=True))

    name = f"resample({islands}{'' if when is None else f', when {when!r}'})"
    return Transformer(name, apply, PRESERVES)


def checked(islands: Islands, particles: int) -> Islands:
    """Refuse islands that the particles do not fill evenly."""
    if islands.number < 1 or particles % islands.number:
        raise LawfulError(
            f"{particles} particles do not fill {islands.number} islands evenly. Fix: give a multiple of "
            f"{islands.number} particles.",
            particles=particles, islands=islands.number,
        )  # fmt: skip
    return islands


@dataclass(frozen=True)
class Levels:
    """Give the particles of an island its mean weight; of all particles the mean is one.

    Takes weights of any scale and their effective sample size, gives weights with largest one and log weights.
    """

    islands: int

    def __call__(self, weight: jax.Array, size: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Average each island."""
        means = jnp.mean(weight.reshape(self.islands, -1), axis=1)
        each = weight.shape[0] // self.islands
        scaled, level = self.of_means(means, size)
        return jnp.repeat(scaled, each), jnp.repeat(level, each)

    def of_means(self, means: jax.Array, size: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Scale the means of all islands; a population without weight (size 0) stays dead."""
        dead = size == 0
        means = jnp.where(dead, 1.0, means)
        level = jnp.where(dead, -jnp.inf, jnp.log(means / jnp.mean(means)))
        return jnp.where(dead, 0.0, means / jnp.max(means)), level


@dataclass(frozen=True)
class Apart:
    """Tell whether islands have drifted apart, as an index of two arms."""

    islands: int
    tau: float

    def __call__(self, weight: jax.Array) -> jax.Array:
        """Compare the effective number of islands with a fraction of their number."""
        return self.of_levels(weight[:: weight.shape[0] // self.islands])

    def of_levels(self, levels: jax.Array) -> jax.Array:
        """Decide from the weight of each island; a dead population does not mix."""
        effective = ess(levels)
        return ((effective > 0) & (effective < self.tau * self.islands)).astype(jnp.int32)


def _mixed(block: Block, population: Population, islands: Islands, left: Offspring) -> Offspring:
    """Mix islands that are apart; within each all weights are equal, and distinct ancestors are counted, by now."""
    plate = population.plate

    def keep(block: Block, now: tuple[Var, Var, tuple[Var, ...]]) -> Any:
        return now, identity(block, plate)

    def again(block: Block, now: tuple[Var, Var, tuple[Var, ...]]) -> Any:
        weight, log_weight, values = now
        law = WholeLaw(islands.number, plate.size, systematic)
        ancestors = block.site(population.address("islands"), law, (weight,))
        ones = block.det(jnp.ones_like, weight, label="equal weights", plates=(plate,))
        zeros = block.det(jnp.zeros_like, log_weight, label="equal weights", plates=(plate,))
        return (ones, zeros, gather(block, values, ancestors, plate, (plate,))), ancestors

    index = block.det(Apart(islands.number, islands.tau), left.weight, label="islands apart?")
    now = left.weight, left.log_weight, left.values
    (weight, log_weight, values), later = block.switch(index, (keep, again), now, label="mix islands?")
    ancestors = one_ancestry(block, (left.ancestors, later), plate)
    return Offspring(weight, log_weight, values, left.n_unique, ancestors)


# Names of schemes beside those of `laws.resampling`: systematic resampling across all devices, and an island on each.
NAMES = {"exact": systematic, "islands": Islands()}
