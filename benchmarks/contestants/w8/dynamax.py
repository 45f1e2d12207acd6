"""dynamax on W8: its filter and smoother, in a jit of the user's, which makes the parameters of the matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from dynamax.linear_gaussian_ssm import LinearGaussianSSM, lgssm_filter, lgssm_smoother

from benchmarks.contestants.linear import LinearRun
from benchmarks.workloads import LINEAR_OBSERVED, LINEAR_STATES, Linear

PACKAGES = ("dynamax", "jax", "jaxlib")
DTYPE = "float64"


def functions(linear: Linear) -> Mapping[str, Any]:
    """What answers each task."""
    maker = LinearGaussianSSM(LINEAR_STATES, LINEAR_OBSERVED)

    def parameters(transition: jax.Array) -> Any:
        return maker.initialize(
            jax.random.key(0),
            initial_mean=jnp.zeros(LINEAR_STATES),
            initial_covariance=jnp.eye(LINEAR_STATES),
            dynamics_weights=transition,
            dynamics_covariance=jnp.asarray(linear.root @ linear.root.T),
            emission_weights=jnp.asarray(linear.emission),
            emission_covariance=jnp.diag(jnp.asarray(linear.noise) ** 2),
        )[0]

    def evidence(transition: jax.Array, y: jax.Array) -> jax.Array:
        return lgssm_filter(parameters(transition), y).marginal_loglik

    def filtered(transition: jax.Array, y: jax.Array) -> Any:
        found = lgssm_filter(parameters(transition), y)
        return found.marginal_loglik, [found.filtered_means, found.filtered_covariances]

    def smoothed(transition: jax.Array, y: jax.Array) -> Any:
        found = lgssm_smoother(parameters(transition), y)
        return found.marginal_loglik, [found.smoothed_means, found.smoothed_covariances]

    return {
        "evidence": evidence,
        "gradient": jax.value_and_grad(evidence),
        "filter": filtered,
        "smoother": smoothed,
    }


def build(settings: dict[str, Any]) -> LinearRun:
    """The contestant for one variant."""
    return LinearRun(settings, functions)
