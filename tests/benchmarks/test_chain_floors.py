"""The floors of W3 obey the law of the library, or their times would mean nothing; and ours are the programs of W3."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import models, workloads
from benchmarks.contestants.chains import told, told_in_order
from benchmarks.contestants.w2.floor import plain, product
from benchmarks.contestants.w3a.floor import walk_program
from benchmarks.contestants.w3b.floor import single_site_program
from benchmarks.harness.catalogue import WORKLOADS
from lawful import trace
from lawful.distributions.families import FAMILIES
from tests.tiers import rest_slow

pytestmark = pytest.mark.usefixtures("single_precision")  # the floors are float32 programs


LINES = [
    ("W3a", "ours"), ("W3a", "ours_plain"), ("W3b", "ours"), ("W3b", "ours_gibbs"), ("W3b", "ours_single_site"),
]  # fmt: skip


def errors(draws, model):
    """Errors of the means in posterior sd, and ratios of the standard deviations."""
    points = np.asarray(draws, np.float64)
    mean, scale = map(np.array, workloads.MOMENTS[model])
    return (points.mean(axis=(0, 1)) - mean) / scale, points.std(axis=(0, 1)) / scale


@pytest.mark.slow
@pytest.mark.parametrize("log_likelihood", [product, plain])
def test_the_walk_reaches_the_posterior(log_likelihood):
    """64 chains of 800 draws, an effective size of 450: errors of 0.05 each; five of them, and 0.01 of the starts."""
    covariates, labels = workloads.regression()
    data = covariates.T * (1 - 2 * labels), workloads.regression_starts(64), workloads.regression_walk()
    run = jax.jit(walk_program(200, 800, log_likelihood))
    draws = run(jax.random.key(20270), *(jnp.asarray(x, jnp.float32) for x in data))
    assert draws.shape == (64, 800, 20)
    error, ratio = errors(draws, "logistic")
    assert np.abs(error).max() < 0.26
    assert np.abs(ratio - 1).max() < 0.12
    moved = (draws[:, 1:] != draws[:, :-1]).any(axis=2).mean()
    assert 0.2 < moved < 0.35  # the rate that the scale 2.38 / sqrt(d) gives


@pytest.mark.slow
def test_single_site_moves_reach_the_posterior():
    """50 000 moves of 64 chains, half of them dropped, where the means are in order: errors of 0.06; five of them.

    The exchange of two means is so rare that no chain of this length knows its share.
    """
    means, labels = workloads.mixture_starts(64)
    data = jnp.asarray(workloads.mixture(), jnp.float32), jnp.asarray(means, jnp.float32), jnp.asarray(labels)
    draws, _ = jax.jit(single_site_program(50_000, 100))(jax.random.key(20271), *data)
    assert draws.shape == (64, 500, 3)
    points = np.asarray(draws[:, 250:], np.float64).reshape(-1, 3)
    inside = points[(np.diff(points) > 0).all(axis=1)]
    assert len(inside) > 0.9 * len(points)
    mean, scale = workloads.mixture_moments(60, ordered=True)
    assert np.abs((inside.mean(axis=0) - mean) / scale).max() < 0.28
    assert np.abs(inside.std(axis=0) / scale - 1).max() < 0.11


@pytest.mark.slow
def test_a_single_site_move_changes_one_mean_at_most_and_is_the_same_site_in_all_chains():
    means, labels = workloads.mixture_starts(64)
    data = jnp.asarray(workloads.mixture(), jnp.float32), jnp.asarray(means, jnp.float32), jnp.asarray(labels)
    draws, _ = jax.jit(single_site_program(2000, 1))(jax.random.key(20272), *data)
    moved = np.asarray(draws[:, 1:] != draws[:, :-1])
    assert moved.any(axis=0).sum(axis=1).max() == 1
    share = moved.any(axis=(0, 2)).mean()
    assert abs(share - 3 / 103) < 5 * (3 / 103 / 2000) ** 0.5


def test_our_mixture_has_the_density_of_w3b():
    y, rng = workloads.mixture(), np.random.default_rng(20273)
    form = trace(models.labelled_mixture, jnp.asarray(y, jnp.float32))
    for _ in range(3):
        mean, label = rng.normal(size=3), rng.integers(0, 3, 100)
        squares = np.sum((mean - workloads.MIXTURE_PRIOR) ** 2) + np.sum((y - mean[label]) ** 2)
        wanted = -0.5 * squares - 103 / 2 * workloads.LOG_TWO_PI + np.log(workloads.MIXTURE_WEIGHT)[label].sum()
        found = form.log_density({"mean": mean, "label": label}, jnp.asarray(y, jnp.float32))
        np.testing.assert_allclose(found, wanted, rtol=2e-6)


def test_what_is_told_of_chains_is_their_means_and_their_least_effective_size():
    rng = np.random.default_rng(20274)
    draws = rng.normal(size=(128, 100, 2)) + [0.0, 3.0]
    draws[..., 1] += rng.normal(size=(128, 1))  # chains that stay apart
    found = told(draws)
    assert found["mean_0"] == pytest.approx(draws[..., 0].mean(), abs=1e-12)
    assert found["ess"] < 1000  # of the second coordinate: a chain is little more than one draw
    assert told(draws[..., :1])["ess"] == pytest.approx(12_800, rel=0.2)


def test_an_exchange_of_means_with_their_labels_leaves_the_effective_size():
    rng = np.random.default_rng(20275)
    means, labels = rng.normal(size=(4, 200, 3)) + [-9.0, 0.0, 9.0], rng.integers(0, 3, (4, 200, 5))
    labels[..., 0] = 2
    found = told_in_order((means, labels))
    exchanged = means.copy(), labels.copy()
    exchanged[0][1] = means[1][:, [1, 0, 2]]
    exchanged[1][1] = np.array([1, 0, 2])[labels[1]]
    assert told_in_order(exchanged)["ess"] == found["ess"] > 400
    assert told(exchanged[0])["ess"] < 10 and found["mean_0"] == told(means)["mean_0"]


@pytest.mark.parametrize(("workload", "ours"), rest_slow(LINES))
def test_a_run_of_ours_gives_the_outputs_that_are_compared(workload, ours, monkeypatch):
    monkeypatch.setattr("lawful.distributions.families.FAMILIES", dict(FAMILIES))
    (variant, *_) = WORKLOADS[workload].variants
    small = {
        "chains": 4,
        "warmup": 5,
        "draws": 20,
        "moves": 400,
        "thin": 20,
        "drop": 5,
        "warmup_sweeps": 9,
        "sweeps": 9,
    }
    run = importlib.import_module(WORKLOADS[workload].module(ours)).build({**variant.settings, **small})
    outputs = run.told(run(0))
    assert set(outputs) == {"ess", *variant.exact()}
    assert set(variant.scales()) == set(variant.exact())
