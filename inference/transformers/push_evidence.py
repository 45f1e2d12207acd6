"""Push evidence: bring the weights of a population to mean one, and put their mean forward as a factor.

Law: [[push_evidence(p)]] = [[p]]: what the weights lose the factor has.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..contract import PRESERVES, Transformer
from ..laws.meaningless import cleaned
from ..representations.population import Population, mean_weights


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
