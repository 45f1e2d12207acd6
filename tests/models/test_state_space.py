"""Sequences as programs have the evidence of the filters that are exact for them."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

import lawful
from benchmarks import workloads
from lawful import inference
from lawful.errors import LawfulError
from lawful.models import LinearGaussian, local_level, state_space
from lawful.models.state_space import linear_gaussian
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


def evidence(*args):
    return inference.smoothed(linear_gaussian, *args).log_evidence


def test_the_density_of_states_and_observations_is_that_of_the_equations():
    x = np.random.default_rng(3).normal(size=(4, 2))
    expected = multivariate_normal.logpdf(x[0], MODEL.mean, MODEL.cov)
    for t in range(4):
        if t > 0:
            expected += multivariate_normal.logpdf(x[t], MODEL.transition @ x[t - 1], MODEL.transition_cov)
        expected += multivariate_normal.logpdf(Y[t], MODEL.emission @ x[t], MODEL.emission_cov)
    form = lawful.trace(state_space.linear_gaussian, MODEL, Y)
    assert abs(float(form.log_density({"x": x}, MODEL, Y)) - expected) < 1e-10


@pytest.mark.slow
def test_the_grid_sum_of_two_steps_is_the_evidence_of_the_kalman_filter():
    y = Y[:1]
    form = lawful.trace(state_space.linear_gaussian, MODEL, y)
    axis = jnp.linspace(-9.0, 9.0, 181)
    found = grid_evidence(lambda x: form.log_density({"x": x[None]}, MODEL, y), axis, axis)
    assert abs(found - float(evidence(MODEL, y))) < 1e-10


@pytest.mark.slow
@pytest.mark.reference
@pytest.mark.parametrize("name", ["lgssm_local_level", "lgssm_tracking_2d"])
def test_the_filter_and_smoother_of_the_program_are_those_of_the_reference(name, data):
    case = json.loads((data / "exact" / f"{name}.json").read_text())
    model = LinearGaussian(*(np.array(case["model"][name]) for name in ("A", "Q", "C", "R", "m0", "P0")))
    y = np.array([[np.nan if value is None else value for value in row] for row in case["data"]["y"]], dtype=float)
    exact = {name: np.array(value, dtype=float) for name, value in case["exact"].items()}
    for moments, kind in ((inference.smoothed, "smoother"), (inference.filtered, "filter")):
        found = jax.jit(partial(moments, linear_gaussian))(model, y, ~np.isnan(y))
        assert float(found.log_evidence) == pytest.approx(exact["log_evidence"], rel=0, abs=1e-10)
        np.testing.assert_allclose(found.mean["x"], exact[f"{kind}_mean"], rtol=0, atol=1e-10)
        np.testing.assert_allclose(found.covariance["x"], exact[f"{kind}_cov"], rtol=0, atol=1e-10)


def test_a_step_of_its_own_size_is_read_at_its_time():
    y = np.array([[0.3], [0.1], [2.4], [2.2], [1.9]])
    steps = np.array([9.0, 0.2, 1.5, 0.2, 0.2])  # the first is not used
    variance = np.concatenate([[0.0], np.cumsum(steps[1:] ** 2)])
    cov = 1.1**2 + np.minimum.outer(variance, variance) + 0.4**2 * np.eye(5)
    exact = multivariate_normal.logpdf(y[:, 0], np.full(5, 0.5), cov)
    assert float(evidence(local_level(0.5, 1.1, steps, 0.4), y)) == pytest.approx(exact, rel=0, abs=1e-12)


def test_a_singular_covariance_is_that_of_a_known_direction():
    zero, y = LinearGaussian(np.eye(2), np.zeros((2, 2)), np.eye(2), np.eye(2), np.zeros(2), np.ones((2, 2))), Y[:2]
    y = np.concatenate([y, -y], axis=1)
    cov = np.kron(np.ones((2, 2)), np.ones((2, 2))) + np.eye(4)  # all four see one number
    exact = multivariate_normal.logpdf(y.ravel(), np.zeros(4), cov)
    assert float(evidence(zero, y)) == pytest.approx(exact, rel=0, abs=1e-12)
    assert np.isnan(evidence(zero._replace(transition_cov=np.array([[0.0, 1.0], [1.0, 0.0]])), y))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"y": np.ones(4)}, r"y: expected \(steps, observations a step\), got the shape \(4,\)"),
        ({"observed": np.ones(4, bool)}, r"observed: expected the shape \(4, 1\) of y, got \(4,\)"),
        ({"emission": np.eye(2)}, r"emission: got the shape \(2, 2\), expected \(1, 2\) or, one a step, \(4, 1, 2\)"),
        ({"emission_cov": np.ones(1)}, r"emission_cov: got the shape \(1,\), expected \(1, 1\)"),
        ({"mean": np.zeros((2, 1))}, r"mean: got the shape \(2, 1\), expected \(2,\)"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_shapes_that_do_not_fit_are_an_error(changes, told):
    y, observed = (changes.pop(name, default) for name, default in (("y", Y), ("observed", None)))
    with pytest.raises(LawfulError, match=told):
        lawful.trace(linear_gaussian, MODEL._replace(**changes), y, observed)


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
