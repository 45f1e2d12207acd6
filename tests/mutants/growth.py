"""Planted faults in mixtures of trajectories, in integrals over normals, and in log densities element by element."""

import importlib
from contextlib import contextmanager

import jax.numpy as jnp

from lawful.models.trajectories import program
from lawful.models.trajectories.likelihood import density
from tests.mutants.patching import patched, rewritten


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


def gate_covariates_in_another_order():
    """The gate of the program takes the effect of one covariate for that of another."""

    def make(original):
        return lambda gate, covariates: original(gate, covariates[::-1])

    return patched(program, "log_prior_classes", make)


@contextmanager
def determinant_forgotten():
    """The integral over normal sites has no determinant, written out or not."""
    owner = importlib.import_module("lawful.inference.transformers.gaussian.integrate_normals")
    written = rewritten(owner.Written, "__call__", "volume = -sum(", "volume = -0.0 * sum(")
    with rewritten(owner, "integrated", "volume = -log_diagonal", "volume = -0.0 * log_diagonal"), written as calls:
        yield calls


def later_steps_forgotten():
    """The normals of a step are integrated without what its state weighs later."""
    owner = importlib.import_module("lawful.inference.transformers.gaussian.chain_integral")
    return rewritten(owner, "gains", "times(after, own.moves)", "0.0 * times(after, own.moves)")


def chain_determinant_forgotten():
    """The integral over the normals of a loop has no determinant."""
    owner = importlib.import_module("lawful.inference.transformers.gaussian.chain_integral")
    squares = lambda parts, found: 0.5 * (jnp.sum(found.whitened**2) + jnp.sum(found.first**2))  # noqa: E731
    return patched(owner, "log_integral", lambda original: squares)


def covariance_not_kept_symmetric():
    """The covariances of smoothed states lose their symmetry from step to step."""
    owner = importlib.import_module("lawful.inference.transformers.gaussian.chain_integral")
    return rewritten(owner, "moments", "0.5 * (after + after.T)", "after")


def volume_of_a_step_forgotten():
    """The log predictive density of a step has no determinant."""
    owner = importlib.import_module("lawful.inference.transformers.gaussian.by_step")
    return rewritten(owner, "_weighed", "- jnp.linalg.slogdet", "- 0.0 * jnp.linalg.slogdet")


def data_before_a_loop_in_its_first_step():
    """The first step of a sum along states has the data before the loop, too."""
    owner = importlib.import_module("lawful.inference.summing.loops")
    return rewritten(owner, "_start", "if walk.job.by_step", "if False")


def clusters_not_summed():
    """Robust errors take the scores of each element, whatever its cluster."""
    owner = importlib.import_module("lawful.inference.results.scores")
    return rewritten(owner, "_outer", "if clusters is not None", "if False")


def shares_at_the_new_point():
    """A step of EM weighs states by their shares at the point that it looks at."""
    owner = importlib.import_module("lawful.inference.summing.expected")
    return rewritten(owner.Tangent, "__call__", "stop_gradient(tables[0])", "stop_gradient(tables[1])")
