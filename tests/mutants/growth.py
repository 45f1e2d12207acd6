"""Planted faults in mixtures of trajectories: a gate that is not normalised, and one that sees the wrong covariates."""

import jax.numpy as jnp

from lawful.models.trajectories import density
from tests.mutants.patching import patched


def gate_not_normalised():
    """The log odds of the gate are taken for log probabilities."""

    def make(original):
        return lambda gate, covariates: jnp.sum(gate * covariates[None], axis=1)

    return patched(density, "log_prior_classes", make)


def expert_covariates_in_the_gate():
    """The gate sees the covariates of the growth factors."""

    def make(original):
        def joint(parameters, panel, *rest):
            wrong = jnp.resize(panel.growth, panel.gate[1:].shape)
            return original(parameters, panel._replace(gate=jnp.concatenate([panel.gate[:1], wrong])), *rest)

        return joint

    return patched(density, "_joint", make)
