"""A drift keeps a density if its current has no divergence, and the corrected step keeps it in any case."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.stats import multivariate_normal

import lawful
from lawful import inference
from lawful.inference import check
from lawful.models.papers import divergence_free_drift as paper

SDS = np.array([3.0, 1.0])
SKEW = 2.0 * np.array([[0.0, 1.0], [-1.0, 0.0]])
STEP = 0.05


def normal(x):
    return -0.5 * jnp.sum((x / SDS) ** 2)


def banana(x):
    return -0.5 * x[0] ** 2 - 2.0 * (x[1] - 0.5 * x[0] ** 2) ** 2


def two_places(x):
    return jax.nn.logsumexp(jnp.stack([-0.5 * jnp.sum((x - 1.5) ** 2), -jnp.sum((x + 1.5) ** 2)]))


def scales():
    lawful.sample("x", dist.Normal(jnp.zeros(2), SDS).to_event(1))


def turn(x):
    return SKEW @ x


def recursion(skew, length, start):
    """Mean and covariance of the normal path after some steps, by hand."""
    move = np.eye(2) - STEP * (np.eye(2) + skew) @ np.diag(SDS**-2.0)
    mean, cov = np.asarray(start), np.zeros((2, 2))
    for _ in range(length):
        mean, cov = move @ mean, move @ cov @ move.T + 2.0 * STEP * np.eye(2)
    return mean, cov


def observed_at_the_end(start, y):
    path = paper.langevin(normal, paper.current(normal, SKEW), start, STEP, 4)
    lawful.sample("y", dist.Normal(path[-1], 0.5).to_event(1), obs=y)


def test_a_skew_current_has_no_divergence_whatever_the_density():
    with jax.enable_x64(True):
        points = np.random.default_rng(14).normal(size=(50, 2)) * 2.0
        for density in (normal, banana, two_places):
            found = jax.jit(lambda skew, log=density: paper.defect(log, paper.current(log, skew), points))
            assert np.abs(found(SKEW)).max() < 1e-10
            assert np.abs(found(np.abs(SKEW))).max() > 0.1


def test_a_turn_without_divergence_suits_round_densities_alone():
    """Its defect is (A x) . score(x), in closed form for a normal density."""
    with jax.enable_x64(True):
        points = np.random.default_rng(14).normal(size=(50, 2))
        found = paper.defect(normal, turn, points)
        np.testing.assert_allclose(found, -np.sum(points @ SKEW.T * points / SDS**2, 1), rtol=0, atol=1e-12)
        assert np.abs(paper.defect(lambda x: -0.5 * x @ x, turn, points)).max() < 1e-12


def test_the_path_of_a_normal_target_has_the_law_of_its_recursion():
    with jax.enable_x64(True):
        start, y = jnp.array([2.0, -1.0]), jnp.array([1.0, 0.5])
        summed = inference.enumeration(lawful.trace(observed_at_the_end, start, y), inference.integrate_normals())
        mean, cov = recursion(SKEW, 4, start)
        truth = multivariate_normal.logpdf(y, mean, cov + 0.25 * np.eye(2))
        assert abs(summed.marginal.log_density({}, start, y) - truth) < 1e-10


@pytest.mark.slow
def test_particles_agree_with_the_integral_over_the_path():
    """Five standard errors: a false alarm of 6e-7; 4 % of the evidence would be found."""
    with jax.enable_x64(True):
        start, y = jnp.array([2.0, -1.0]), jnp.array([1.0, 0.5])
        result = inference.importance(observed_at_the_end, particles=60_000, runs=4)(jax.random.key(1), start, y)
        mean, cov = recursion(SKEW, 4, start)
        truth = multivariate_normal.logpdf(y, mean, cov + 0.25 * np.eye(2))
        assert 5.0 * result.log_evidence_error < 0.04
        assert abs(result.log_evidence_pooled - truth) < 5.0 * result.log_evidence_error


@pytest.mark.slow
def test_the_corrected_step_is_an_involution_that_keeps_volume():
    with jax.enable_x64(True):
        kernel = paper.lifted(two_places, paper.current(two_places, SKEW), 0.3)
        report = check.involution(kernel.kernels[0], paper.both_ways(scales), points=5)
        assert report.passed, report


@pytest.mark.slow
@pytest.mark.tier1
@pytest.mark.parametrize("field", [paper.current(normal, SKEW), turn], ids=["allowed", "not allowed"])
def test_the_corrected_step_keeps_the_target_whatever_the_drift(field):
    with jax.enable_x64(True):
        kernel = paper.lifted(normal, field, 0.3)
        report = check.invariant(kernel, paper.both_ways(scales), level="statistical", n=4_000)
        assert report.passed, report
        assert report.detects(0.1), report


@pytest.mark.slow
@pytest.mark.tier1
@pytest.mark.parametrize(
    ("field", "status"),
    [
        (lambda density: paper.current(density, SKEW), "passed"),
        (lambda density: paper.current(density, 0.5 * np.abs(SKEW)), "failed"),
        (lambda density: turn, "failed"),
    ],
    ids=["skew", "symmetric", "turn"],
)
def test_the_check_sees_a_drift_that_is_not_allowed_in_the_step_without_a_coin(field, status):
    with jax.enable_x64(True):
        report = check.invariant(paper.euler(field, 0.02), scales, level="statistical", n=4_000)
        assert report.status == status, report
