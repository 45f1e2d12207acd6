"""Rejuvenation: apply a kernel to the particles of a population on a path, many times, keeping the last state or all.

Law: a kernel that keeps the measure of the point keeps the population's. Keeping every state of a chain that starts at
a resampled particle keeps it too, each state being one particle of the same weight: nothing is wasted (Dau and Chopin
2022, Waste-free sequential Monte Carlo).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from lawful.errors import LawfulError
from lawful.form import Plate

from ..contract import Transformer
from ..laws.resampling_schemes import Distinct, ResampleLaw
from ..laws.resampling_schemes import scheme as scheme_named
from ..representations.population import EqualWeights, Population, gather
from .fits import contract_of, is_fitted
from .move import Chain, move_of, moved, noted, piloted
from .temper import OnPath

LONG = 20  # moves in which a chain ought to move


def rejuvenate(kernel: Any, steps: int) -> Transformer:
    """Apply a kernel so many times to every particle of a population on a path; the last states remain.

    >>> from lawful.inference import kernels
    >>> rejuvenate(kernels.mh(), 3)
    rejuvenate(mh(single_site()), 3 steps)
    """
    return Transformer(
        f"rejuvenate({kernel!r}, {steps} steps)",
        lambda population: moved(_path_of(population, "rejuvenate"), population, kernel, steps),
        contract_of(kernel),
    )


def waste_free(kernel: Any, chains: int, scheme: Any = "systematic") -> Transformer:
    """Resample so many particles, run a chain of a kernel from each, and keep all states as the new population.

    Args:
        kernel: an invariant kernel, as for `move`.
        chains: how many; the number of particles must be a multiple of it.
        scheme: the resampling scheme, or its name.

    >>> from lawful.inference import kernels
    >>> waste_free(kernels.mh(), 10)
    waste_free(mh(single_site()), 10 chains, systematic)
    """
    scheme = scheme_named(scheme)
    return Transformer(
        f"waste_free({kernel!r}, {chains} chains, {scheme})",
        lambda population: _waste_free(population, kernel, chains, scheme),
        contract_of(kernel),
    )


def chains_of(particles: int) -> int:
    """Choose a number of chains: 10 or more, with about 100 states each; a divisor of the particles.

    >>> chains_of(10_000), chains_of(1000), chains_of(250), chains_of(12)
    (100, 10, 10, 6)
    """
    divisors = [n for n in range(1, particles // 2 + 1) if particles % n == 0]
    if particles > 3 and divisors == [1]:
        raise LawfulError(
            f"tempered_smc: {particles} particles make no equal chains. Fix: give a round number of particles, or "
            "steps=10 for moves of every particle.",
            particles=particles,
        )
    wanted = max(particles / 100, 10)
    return next((n for n in divisors if n >= wanted), divisors[-1] if divisors else 1)


def _path_of(population: Population, name: str) -> OnPath:
    if not isinstance(population.pending, OnPath):
        raise LawfulError(f"{name}: expected a population on a path. Fix: Trace >> temper() >> spawn(n) >> ...")
    return population.pending


def _waste_free(population: Population, kernel: Any, chains: int, scheme: Any) -> Population:
    on, block, plate = _path_of(population, "waste_free"), population.block, population.plate
    if chains < 1 or plate.size % chains:
        raise LawfulError(
            f"waste_free: {plate.size} particles are not a multiple of {chains} chains, so the chains would differ in "
            "length. Fix: give a number of chains that divides the number of particles.",
            particles=plate.size, chains=chains,
        )  # fmt: skip
    assert population.weight is not None and population.ess is not None
    chain, length = Plate("chain", chains), plate.size // chains
    if chains > 1:  # particles stand chain by chain, and at first they are independent
        population.trail.note(
            "evidence_variance", block.det(_Disagreement(chains), population.weight, label="how chains disagree")
        )
    law = ResampleLaw(scheme, plate.size, chains)
    ancestors = block.site(population.address("ancestors"), law, (population.weight,))
    distinct = Distinct(plate.size, scheme.ascending)
    population.trail.note("n_unique", block.det(distinct, ancestors, label="distinct ancestors"))
    *first, log_weight = gather(block, (*population.values, population.log_weight), ancestors, plate, (chain,))
    move = move_of(kernel, block, on, plate)
    state = move.entered(block, first, chain)
    move = piloted(population, move, first, state, log_weight, chain)
    scope = (*population.scope, f"chain{population.stage}")
    ran = Chain(move, chain, scope).run(block, state, log_weight, length - 1, collect=True)
    if is_fitted(kernel) and length > LONG:
        unmoved = block.det(_unmoved, *state, *ran.last, label="share of chains that never moved")
        population.trail.note("unmoved_chains", unmoved)
    joined = [
        block.det(join_states, start, rest, label="all states", adds=(plate,))
        for start, rest in zip(state, ran.states, strict=True)
    ]
    values = move.left(block, joined, plate)
    weight, log_weight = block.det(EqualWeights(plate.size), population.ess, label="equal weights", adds=(plate,))
    ess = block.det(lambda ess: jnp.where(ess == 0, 0.0, float(plate.size)), population.ess, label="all of them")
    pending = on if ran.memory is None else replace(on, memory=ran.memory)
    return noted(population, ran.info).next_stage(
        values=values, weight=weight, log_weight=log_weight, ess=ess, pending=pending
    )


def join_states(start: jax.Array, later: jax.Array) -> jax.Array:
    """Put the states of the chains (chains, ...) and (chains, steps, ...) into one row of particles, chain by chain."""
    states = jnp.concatenate([start[:, None], later], axis=1)
    return states.reshape((states.shape[0] * states.shape[1], *states.shape[2:]))


def _unmoved(*ends: jax.Array) -> jax.Array:
    """Give the share of chains that are at last where they were at first."""
    half = len(ends) // 2
    same = [
        jnp.all(((a == b) | ((a != a) & (b != b))).reshape(len(a), -1), axis=1)
        for a, b in zip(ends[:half], ends[half:], strict=True)
    ]
    return jnp.mean(jnp.all(jnp.stack(same), axis=0), dtype=jnp.result_type(float))


@dataclass(frozen=True)
class _Disagreement:
    """The variance of the log of the mean weight, by the mean weights of the chains that made the particles."""

    chains: int

    def __call__(self, weight: jax.Array) -> jax.Array:
        """Compute it from weights that stand chain by chain; 0 where none has weight."""
        means = jnp.mean(weight.reshape(self.chains, -1), axis=1)
        whole = jnp.mean(means)
        ratio = means / jnp.where(whole > 0, whole, 1.0)
        return jnp.where(whole > 0, jnp.var(ratio, ddof=1) / self.chains, 0.0)
