"""Sequences as programs have the evidence of the filters that are exact for them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

import lawful
from benchmarks import workloads
from lawful import inference
from lawful.models import LinearGaussian, kalman_log_evidence, state_space
from tests.models.truth import grid_evidence

MODEL = LinearGaussian(
    np.array([[0.9, 0.3], [0.0, 0.8]]),
    np.array([[0.3, 0.1], [0.1, 0.4]]),
    np.array([[1.0, 0.5]]),
    np.array([[0.5]]),
    np.array([0.2, -0.1]),
    np.array([[1.0, 0.2], [0.2, 0.7]]),
)
Y = np.array([[0.3], [1.1], [0.4], [-0.6]])


def test_the_density_of_states_and_observations_is_that_of_the_equations():
    x = np.random.default_rng(3).normal(size=(4, 2))
    expected = multivariate_normal.logpdf(x[0], MODEL.mean, MODEL.cov)
    for t in range(4):
        if t > 0:
            expected += multivariate_normal.logpdf(x[t], MODEL.transition @ x[t - 1], MODEL.transition_cov)
        expected += multivariate_normal.logpdf(Y[t], MODEL.emission @ x[t], MODEL.emission_cov)
    form = lawful.trace(state_space.linear_gaussian, MODEL, Y)
    assert abs(float(form.log_density({"x": x}, MODEL, Y)) - expected) < 1e-10


def test_the_grid_sum_of_two_steps_is_the_evidence_of_the_kalman_filter():
    y = Y[:1]
    form = lawful.trace(state_space.linear_gaussian, MODEL, y)
    axis = jnp.linspace(-9.0, 9.0, 181)
    found = grid_evidence(lambda x: form.log_density({"x": x[None]}, MODEL, y), axis, axis)
    assert abs(found - float(kalman_log_evidence(MODEL, y))) < 1e-10


def test_the_density_of_volatilities_and_returns_is_that_of_the_equations():
    y, x = np.array([0.2, -0.5, 0.9]), np.array([-1.2, -0.7, -0.9])
    expected = norm.logpdf(x[0], -1, 0.25 / np.sqrt(1 - 0.95**2)) + norm.logpdf(y, 0, np.exp(x / 2)).sum()
    expected += norm.logpdf(x[1:], -1 + 0.95 * (x[:-1] + 1), 0.25).sum()
    form = lawful.trace(state_space.stochastic_volatility, y)
    assert abs(float(form.log_density({"x": x}, y)) - expected) < 1e-12


def test_the_grid_sum_of_two_volatilities_is_that_of_a_filter_on_points():
    y = workloads.observations("SV")[:2]
    form = lawful.trace(state_space.stochastic_volatility, y)
    axis = jnp.linspace(-8.2, 6.2, 721)
    found = grid_evidence(lambda x: form.log_density({"x": x}, y), axis, axis)
    assert abs(found - workloads.point_mass_filter(workloads.MODELS["SV"], y)[0]) < 1e-10


@pytest.mark.slow
@pytest.mark.tier2
@pytest.mark.optimised
def test_a_thousand_returns_have_the_published_evidence():
    """32 runs: three standard errors of their mean, and the bias -variance/2 of the logarithm."""
    y = jnp.asarray(workloads.observations("SV"))
    plan = inference.smc(state_space.stochastic_volatility, particles=1000, runs=32, keep="last")
    errors = np.asarray(plan(jax.random.key(20261), y).log_evidence) - (-913.9721985)
    assert abs(errors.mean() + errors.var() / 2) < 5.0 * errors.std(ddof=1) / 32**0.5
    assert errors.std() < 1.0
