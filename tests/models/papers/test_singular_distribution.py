"""A curve with noise has the mean of normals as its density, and without noise a likelihood that has no maximum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm, wasserstein_distance

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.models.papers.singular_distribution import closed_curve, perturbed, points_of, sliced_wasserstein

CIRCLE = np.array([[[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]])


@pytest.fixture(autouse=True)
def in_64_bits():
    with jax.enable_x64(True):
        yield


def log_densities(x, noise, coefficient, nodes):
    found = inference.log_marginals(
        closed_curve, x, noise, np.shape(coefficient)[1], nodes, plate="datum", enumerate=["t"]
    )
    return np.asarray(found({"coefficient": jnp.asarray(coefficient)}))


def test_a_datum_has_the_mean_of_the_normal_densities_about_the_curve():
    rng = np.random.default_rng(0)
    x, coefficient = rng.normal(size=(5, 3)), rng.normal(size=(2, 4, 3))
    angle = 2 * np.pi * np.arange(30) / 30
    curve = sum(
        np.cos(j * angle)[:, None] * coefficient[0, j - 1] + np.sin(j * angle)[:, None] * coefficient[1, j - 1]
        for j in range(1, 5)
    )
    truth = logsumexp(norm.logpdf(x[:, None], curve, 0.7).sum(-1), axis=1) - np.log(30)
    assert np.allclose(points_of(coefficient, 30), curve, rtol=0, atol=1e-12)
    assert np.allclose(log_densities(x, 0.7, coefficient, 30), truth, rtol=0, atol=1e-12)


def test_the_likelihood_of_data_on_the_curve_grows_without_bound():
    """By d - 1 for each halving of the noise, where the nodes are denser than the noise; off the curve it falls."""
    on, off = points_of(CIRCLE, 7), 1.1 * points_of(CIRCLE, 7)
    noises = [0.02, 0.01, 0.005]
    for x, grows in ((on, True), (off, False)):
        logs = np.array([log_densities(x, noise, CIRCLE, 5_000) for noise in noises])
        assert np.allclose(np.diff(logs, axis=0), 2 * np.log(2), rtol=0, atol=1e-4) == grows
        assert (logs[-1] > logs[0]).all() == grows


def test_a_random_start_of_the_curve_is_as_likely():
    """Turning the coordinate leaves the points, and the prior of the coefficients."""
    x = np.random.default_rng(1).normal(size=(6, 3))
    coefficient = np.random.default_rng(2).normal(size=(2, 2, 3))
    turn = 2 * np.pi * np.arange(1, 3)[:, None] * 7 / 40
    cos, sin = coefficient
    turned = np.stack([np.cos(turn) * cos + np.sin(turn) * sin, np.cos(turn) * sin - np.sin(turn) * cos])
    before, after = (log_densities(x, 0.3, c, 40) for c in (coefficient, turned))
    assert np.allclose(before, after, rtol=0, atol=1e-12)


def test_tempering_and_importance_give_the_same_evidence():
    """Within 5 of their errors together: a false alarm in about 1e4 keys; the errors are below .15, so half is seen."""
    x = jnp.array([[1.0, 0.1], [0.1, 1.0], [-1.1, 0.0]])
    args = x, 0.5, 1, 12
    by_weights = inference.importance(closed_curve, particles=20_000, runs=4, enumerate=["t"])(jax.random.key(0), *args)
    summed = inference.marginalise(["t"])(lawful.trace(closed_curve, *args))
    tempered = inference.tempered_smc(summed, particles=1_000, runs=4)(jax.random.key(1), *args)
    error = np.hypot(by_weights.log_evidence_error, tempered.log_evidence_error)
    assert error < 0.15
    assert abs(by_weights.log_evidence_pooled - tempered.log_evidence_pooled) < 5 * error


def test_a_circle_is_found_again_without_its_noise():
    t = np.random.default_rng(3).uniform(size=400) * 2 * np.pi
    x = np.stack([np.cos(t), np.sin(t), 0 * t], -1)
    seen = perturbed(jax.random.key(0), x, 0.5)
    fit = inference.maximise(closed_curve, starts=4, enumerate=["t"])(jax.random.key(1), seen, 0.5, 2, 60)
    found = points_of(fit.optima[0].values["coefficient"], 400)
    assert sliced_wasserstein(found, x) < 0.08 < 0.15 < sliced_wasserstein(seen, x)


def test_the_distance_is_the_mean_of_those_on_lines():
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(50, 3)), rng.normal(size=(50, 3)) + 1.0
    lines = np.random.default_rng(7).normal(size=(3, 20))
    lines /= np.linalg.norm(lines, axis=0)
    truth = np.mean([wasserstein_distance(a @ line, b @ line) for line in lines.T])
    assert abs(sliced_wasserstein(a, b, 20, 7) - truth) < 1e-12


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lawful.trace(closed_curve, jnp.zeros(4), 0.1), "wanted a table"),
        (lambda: lawful.trace(closed_curve, jnp.zeros((4, 2)), 0.1, 0), "terms is 0"),
        (lambda: lawful.trace(closed_curve, jnp.zeros((4, 2)), 0.1, 2, 0), "nodes is 0"),
        (lambda: sliced_wasserstein(np.zeros((3, 2)), np.zeros((4, 2))), "wanted the same"),
    ],
)
def test_bad_input_says_what_was_wanted(call, words):
    with pytest.raises(LawfulError, match=words):
        call()
