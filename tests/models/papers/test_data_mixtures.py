"""Losses on mixtures of training data are normal given the hyper-parameters."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import multivariate_normal, norm

import lawful
from lawful.models.papers.data_mixtures import data_mixtures, matern

RNG = np.random.default_rng(9)
WEIGHTS, UNTRIED = RNG.dirichlet(np.ones(3), size=8), RNG.dirichlet(np.ones(3), size=4)
LOSS = np.stack([np.cos(3 * np.sqrt(WEIGHTS[:, 0])), 1 - 2 * np.sqrt(WEIGHTS[:, 1])], axis=1)
AT = {
    "log_length": RNG.normal(size=(2, 3)),
    "log_height": np.array([0.3, -0.2]),
    "log_noise": np.array([-1.5, -0.7]),
    "level": np.array([0.4, -0.1]),
}


def correlation(weights, others, length):
    """Matern 5/2 by one pair after the other."""
    found = np.empty((len(weights), len(others)))
    for i, w in enumerate(weights):
        for j, v in enumerate(others):
            r = np.sqrt(5 * sum(((w[k] ** 0.5 - v[k] ** 0.5) / length[k]) ** 2 for k in range(len(w))))
            found[i, j] = (1 + r + r * r / 3) * np.exp(-r)
    return found


def moments(at, j, weights, others):
    height = np.exp(at["log_height"][j])
    return height**2 * correlation(weights, others, np.exp(at["log_length"][j]))


def test_correlations_are_those_of_the_equation_and_one_at_equal_mixtures():
    length = np.array([0.3, 1.2, 2.0])
    assert np.abs(matern(WEIGHTS, UNTRIED, length) - correlation(WEIGHTS, UNTRIED, length)).max() < 1e-12
    assert np.abs(np.diag(matern(WEIGHTS, WEIGHTS, length)) - 1).max() < 1e-11
    edge = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])  # shares of nought
    slope = jax.grad(lambda scale: matern(edge, edge, scale * jnp.ones(3)).sum())(1.0)
    assert np.isfinite(slope)


def test_the_density_is_that_of_normal_losses():
    form = lawful.trace(data_mixtures, WEIGHTS, LOSS)
    found = float(form.log_density(AT, WEIGHTS, LOSS))
    expected = norm.logpdf(AT["log_length"]).sum() + norm.logpdf(AT["log_height"], 0.5).sum()
    expected += norm.logpdf(AT["log_noise"], -2).sum() + norm.logpdf(AT["level"], 0, 2).sum()
    for j in range(2):
        known = moments(AT, j, WEIGHTS, WEIGHTS) + np.exp(AT["log_noise"][j]) ** 2 * np.eye(8)
        expected += multivariate_normal.logpdf(LOSS[:, j], np.full(8, AT["level"][j]), known)
    assert abs(found - expected) < 1e-10 * abs(expected)


def test_losses_are_independent_of_each_other():
    whole = float(lawful.trace(data_mixtures, WEIGHTS, LOSS).log_density(AT, WEIGHTS, LOSS))
    form = lawful.trace(data_mixtures, WEIGHTS, LOSS[:, :1])
    parts = [
        float(form.log_density({k: v[j : j + 1] for k, v in AT.items()}, WEIGHTS, LOSS[:, j : j + 1])) for j in range(2)
    ]
    assert abs(whole - sum(parts)) < 1e-10
