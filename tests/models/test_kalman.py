"""Laws of the Kalman filter: exact evidence and moments, missing entries tell nothing, steps may differ."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from lawful.errors import LawfulError
from lawful.models.kalman import LinearGaussian, kalman_filter, kalman_log_evidence, local_level, rts_smoother

TOLERANCE = 1e-10


@pytest.fixture(params=["lgssm_local_level", "lgssm_tracking_2d"])
def case(request, data):
    return json.loads((data / "exact" / f"{request.param}.json").read_text())


def read(case):
    model = LinearGaussian(*(np.array(case["model"][name]) for name in ("A", "Q", "C", "R", "m0", "P0")))
    y = np.array([[np.nan if value is None else value for value in row] for row in case["data"]["y"]], dtype=float)
    return model, y, ~np.isnan(y)


def dense_log_density(model, y):
    """The joint normal density of a local level with one step of another size, without recursion."""
    steps = np.broadcast_to(np.asarray(model.transition_cov)[..., 0, 0], len(y))
    level = np.asarray(model.cov)[0, 0] + np.minimum.outer(np.arange(len(y)), np.arange(len(y))) * 0.0
    variance = np.concatenate([[0.0], np.cumsum(steps[1:])])
    level = level + np.minimum.outer(variance, variance)
    cov = level + np.asarray(model.emission_cov)[0, 0] * np.eye(len(y))
    return multivariate_normal.logpdf(y[:, 0], np.full(len(y), np.asarray(model.mean)[0]), cov)


@pytest.mark.reference
def test_evidence_and_moments_are_exact(case):
    model, y, seen = read(case)
    exact = case["exact"]
    filtered, smoothed = kalman_filter(model, y, seen), rts_smoother(model, y, seen)
    assert abs(float(kalman_log_evidence(model, y, seen)) - exact["log_evidence"]) < TOLERANCE
    for name, value in [
        ("log_evidence_increments", filtered.log_evidence_increments),
        ("filter_mean", filtered.mean),
        ("filter_cov", filtered.cov),
        ("smoother_mean", smoothed.mean),
        ("smoother_cov", smoothed.cov),
    ]:
        np.testing.assert_allclose(value, np.array(exact[name], dtype=float), rtol=0, atol=TOLERANCE)


def test_the_compiled_filter_is_the_eager_one(case):
    model, y, seen = read(case)
    compiled = jax.jit(kalman_log_evidence)(model, y, seen)
    assert abs(float(compiled) - case["exact"]["log_evidence"]) < TOLERANCE


def test_a_step_of_its_own_size_is_read_at_its_time():
    y = np.array([[0.3], [0.1], [2.4], [2.2], [1.9]])
    level_sd = np.array([9.0, 0.2, 1.5, 0.2, 0.2])  # the first is not used
    model = local_level(0.5, 1.1, level_sd, 0.4)
    assert abs(float(kalman_log_evidence(model, y)) - dense_log_density(model, y)) < 1e-12
    other = local_level(0.5, 1.1, level_sd[::-1], 0.4)
    assert abs(float(kalman_log_evidence(other, y)) - float(kalman_log_evidence(model, y))) > 0.1


def test_an_entry_that_is_not_observed_has_no_influence():
    model = LinearGaussian(
        np.array([[0.9, 0.1], [0.0, 0.8]]),
        0.3 * np.eye(2),
        np.eye(2),
        np.array([[0.5, 0.2], [0.2, 0.4]]),
        np.zeros(2),
        np.eye(2),
    )
    y = np.random.default_rng(0).normal(size=(6, 2))
    seen = np.ones((6, 2), bool)
    seen[2, 1] = seen[4] = False
    plain = kalman_log_evidence(model, y, seen)
    hidden = np.where(seen, y, np.nan)
    assert float(kalman_log_evidence(model, hidden, seen)) == float(plain)
    gradient = jax.grad(lambda y: kalman_log_evidence(model, jnp.asarray(y), seen))(jnp.asarray(np.where(seen, y, 1e3)))
    assert np.all(np.isfinite(gradient))
    assert np.all(np.asarray(gradient)[~seen] == 0.0)


def test_nothing_observed_is_evidence_one():
    model = local_level(0.0, 1.0, 1.0, 1.0)
    assert float(kalman_log_evidence(model, np.zeros((4, 1)), np.zeros((4, 1), bool))) == 0.0


def test_a_nan_that_counts_as_observed_is_an_error_with_its_place():
    with pytest.raises(LawfulError, match=r"NaN at step 1, entry 0"):
        kalman_filter(local_level(0.0, 1.0, 1.0, 1.0), [[0.0], [np.nan]])


@pytest.mark.parametrize(("y", "seen"), [(np.zeros(3), None), (np.zeros((3, 1)), np.ones(3, bool))])
def test_shapes_that_do_not_fit_are_an_error(y, seen):
    with pytest.raises(LawfulError, match="expected"):
        kalman_filter(local_level(0.0, 1.0, 1.0, 1.0), y, seen)


TWO = LinearGaussian(np.eye(1), np.eye(1), np.ones((2, 1)), np.eye(2), np.zeros(1), np.eye(1))  # two outputs a step


@pytest.mark.parametrize(
    ("changes", "y", "told"),
    [
        ({}, np.ones((60, 1)), r"emission: got the shape \(2, 1\), expected \(1, 1\).*y of shape \(60, 1\)"),
        ({"emission_cov": np.ones(2)}, np.ones((60, 2)), r"emission_cov: got the shape \(2,\), expected \(2, 2\)"),
        ({"transition": 1.0}, np.ones((60, 2)), r"transition: got the shape \(\)"),
        ({"transition": np.ones((59, 1, 1))}, np.ones((60, 2)), r"expected \(1, 1\) or, one a step, \(60, 1, 1\)"),
        ({"mean": np.zeros((1, 1))}, np.ones((60, 2)), r"mean: got the shape \(1, 1\), expected \(1,\)"),
    ],
)
@pytest.mark.parametrize("of", [kalman_filter, kalman_log_evidence, rts_smoother])
def test_parameters_that_do_not_fit_the_observations_are_an_error(changes, y, told, of):
    with pytest.raises(LawfulError, match=told):
        of(TWO._replace(**changes), y)
    with pytest.raises(LawfulError, match=told):
        jax.jit(lambda y: of(TWO._replace(**changes), y))(y)


@pytest.mark.parametrize(
    ("name", "matrix", "told"),
    [
        ("transition_cov", -3.0 * np.eye(1), "eigenvalue -3"),
        ("cov", np.full((1, 1), np.nan), "not finite"),
        ("emission_cov", np.array([[1.0, 2.0], [2.0, 1.0]]), "eigenvalue -1"),
        ("emission_cov", np.array([[1.0, 0.5], [0.0, 1.0]]), "not symmetric"),
        ("transition_cov", np.array([1.0] * 59 + [-0.1])[:, None, None], "eigenvalue -0.1"),
    ],
)
def test_a_matrix_that_is_no_covariance_is_an_error(name, matrix, told):
    with pytest.raises(LawfulError, match=rf"{name}: .*{told}"):
        kalman_log_evidence(TWO._replace(**{name: matrix}), np.ones((60, 2)))


@pytest.mark.parametrize("name", ["transition_cov", "emission_cov", "cov"])
def test_a_negative_variance_gives_no_number_where_it_is_traced(name):
    model = TWO._replace(cov=10.0 * np.eye(1))  # so that the covariance of the observations stays positive
    of_variance = jax.jit(
        lambda v: kalman_log_evidence(model._replace(**{name: v * np.asarray(getattr(model, name))}), np.ones((5, 2)))
    )
    assert np.isnan(of_variance(-0.01))
    assert np.isfinite(of_variance(0.0 if name != "emission_cov" else 0.01))


def test_singular_covariances_are_allowed():
    model = TWO._replace(transition_cov=np.zeros((1, 1)), cov=np.zeros((1, 1)))
    assert np.isfinite(kalman_log_evidence(model, np.ones((5, 2))))
