"""Losses on mixtures of training data are normal given the hyper-parameters, and so are those of untried mixtures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.diagnostics import effective_sample_size as ess
from scipy.stats import multivariate_normal, norm

import lawful
from lawful import handlers, inference
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


def test_predictions_are_those_of_the_dense_formula():
    """The mean and the variance, noise included, from an explicit inverse; the density of draws from their normal."""
    values = {**AT, "untried": RNG.normal(size=(3, 2, 4))}
    fixed = handlers.do(data_mixtures, AT)
    form = lawful.trace(data_mixtures, WEIGHTS, LOSS, UNTRIED, 3)
    plain = lawful.trace(data_mixtures, WEIGHTS, LOSS)
    found = float(form.log_density(values, WEIGHTS, LOSS, UNTRIED, 3))
    found -= float(plain.log_density(AT, WEIGHTS, LOSS))
    drawn = inference.predictive(None, fixed, WEIGHTS, LOSS, UNTRIED, 3, draws=1)
    expected = 0.0
    for j in range(2):
        noise = np.exp(AT["log_noise"][j])
        inverse = np.linalg.inv(moments(AT, j, WEIGHTS, WEIGHTS) + noise**2 * np.eye(8))
        across = moments(AT, j, WEIGHTS, UNTRIED)
        mean = AT["level"][j] + across.T @ inverse @ (LOSS[:, j] - AT["level"][j])
        within = moments(AT, j, UNTRIED, UNTRIED) - across.T @ inverse @ across
        assert np.abs(drawn["mean"][0, 0, j] - mean).max() < 1e-9
        assert np.abs(drawn["sd"][0, 0, j] ** 2 - np.diag(within) - noise**2).max() < 1e-9
        within += 1e-8 * np.exp(AT["log_height"][j]) ** 2 * np.eye(4)
        expected += multivariate_normal.logpdf(values["untried"][:, j], mean, within).sum()
    assert abs(found - expected) < 1e-7 * abs(expected)


HELD = {"log_length": AT["log_length"][:1], "log_height": AT["log_height"][:1]}
NOISE, LEVEL = jnp.linspace(-5.5, 1.5, 141), jnp.linspace(-6.0, 6.0, 161)


def surface():
    """The log density on a grid of the log noise and the level, the other hyper-parameters held."""
    args = (WEIGHTS, LOSS[:, :1])
    form = lawful.trace(handlers.condition(data_mixtures, HELD), *args)
    both = jnp.stack([x.ravel() for x in jnp.meshgrid(NOISE, LEVEL, indexing="ij")], axis=1)
    density = jax.jit(lambda x: form.log_density({"log_noise": x[:1], "level": x[1:]}, *args))
    return np.asarray(jax.lax.map(density, both, batch_size=2048)).reshape(len(NOISE), len(LEVEL))


@pytest.mark.slow
def test_a_search_and_chains_agree_with_a_grid():
    """The mode lies in the best cell of a grid, and means of chains are those of the grid.

    Of four chains with 1000 draws each an effective size of 800 or more is asked, so that a mean has a standard error
    below 0.036 posterior standard deviations: a bound of 0.18 is five of these, a false alarm in 2 million, and an
    error of 0.3 standard deviations is found with probability 0.999.
    """
    held, args = handlers.condition(data_mixtures, HELD), (WEIGHTS, LOSS[:, :1])
    log_density = surface()
    best = inference.maximise(held, starts=4)(jax.random.key(0), *args).optima[0]
    assert best.log_density >= log_density.max() - 1e-9
    row, column = np.unravel_index(log_density.argmax(), log_density.shape)
    assert abs(float(best.values["log_noise"][0]) - float(NOISE[row])) <= 0.05
    assert abs(float(best.values["level"][0]) - float(LEVEL[column])) <= 0.075
    result = inference.mcmc(held, inference.kernels.nuts(), chains=4, warmup=500, draws=1000)(jax.random.key(1), *args)
    share = np.exp(log_density - np.logaddexp.reduce(log_density, axis=None))
    for name, axis, mass in (("log_noise", NOISE, share.sum(1)), ("level", LEVEL, share.sum(0))):
        mean = float(mass @ axis)
        sd = float(mass @ (axis - mean) ** 2) ** 0.5
        drawn = np.asarray(result.posterior[name])[..., 0]
        assert float(ess(drawn)) > 800
        assert abs(drawn.mean() - mean) < 0.18 * sd, (name, drawn.mean(), mean, sd)
