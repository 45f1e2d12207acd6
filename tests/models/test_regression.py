"""Regressions have the evidences of their closed forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import bernoulli, multivariate_normal, norm

import lawful
from lawful import inference
from lawful.models import regression
from tests.models.truth import check_evidence

X = np.linspace(-1.0, 1.0, 7)
Y = np.array([1.2, 0.8, 0.1, -0.2, 0.3, 0.9, 1.6])


def pieces(x, y, shortest=2, longest=6, spread=2.0, noise=0.5):
    """Mass of each number of segments: the end of one after the other, each with its conjugate evidence."""

    def line(start, end):
        design = np.stack([np.ones(end - start), x[start:end]], axis=1)
        cov = spread**2 * design @ design.T + noise**2 * np.eye(end - start)
        return float(np.exp(multivariate_normal.logpdf(y[start:end], np.zeros(end - start), cov)))

    n, share = len(x), 1.0 / (longest - shortest + 1)
    mass = {(0, 0): 1.0}  # (where the next segment begins, segments so far)
    found = {}
    for start in range(n):
        for (place, count), before in list(mass.items()):
            if place != start:
                continue
            for length in range(shortest, longest + 1):
                end = min(start + length, n)
                new = before * share * line(start, end)
                if end == n:
                    found[count + 1] = found.get(count + 1, 0.0) + new
                else:
                    mass[end, count + 1] = mass.get((end, count + 1), 0.0) + new
    return found


@pytest.mark.slow
@pytest.mark.tier2
@pytest.mark.optimised
def test_the_evidence_of_the_pieces_is_unbiased():
    plan = inference.smc(regression.piecewise_linear, particles=1000, keep="last")
    check_evidence(plan, (jnp.array(X), jnp.array(Y)), math.log(sum(pieces(X, Y).values())), n=1000, error=0.1)


@pytest.mark.slow
@pytest.mark.tier2
@pytest.mark.optimised
def test_the_number_of_segments_has_its_exact_law():
    """64 runs: the share of runs' weight on two segments, within five standard errors."""
    mass = pieces(X, Y)
    plan = inference.smc(regression.piecewise_linear, particles=2000, runs=64)
    drawn = np.asarray(plan(jax.random.key(20262), X, Y).posterior["segments"])
    for count in (2, 3):
        shares = (drawn == count).mean(axis=1)
        exact = mass[count] / sum(mass.values())
        assert abs(shares.mean() - exact) < 5.0 * shares.std(ddof=1) / 8 + 2e-3, (count, shares.mean(), exact)


def test_the_density_of_the_logistic_regression_is_that_of_its_equations():
    rng = np.random.default_rng(2)
    x, label, beta = rng.normal(size=(6, 3)), np.array([0, 1, 1, 0, 1, 0]), rng.normal(size=3)
    expected = norm.logpdf(beta, 0, 1.5).sum() + bernoulli.logpmf(label, 1 / (1 + np.exp(-x @ beta))).sum()
    form = lawful.trace(regression.bayesian_logistic, x, label, 1.5)
    assert abs(float(form.log_density({"beta": beta}, x, label, 1.5)) - expected) < 1e-12
