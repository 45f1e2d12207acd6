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
