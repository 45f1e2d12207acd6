"""Losses on mixtures of training data are normal given the hyper-parameters, and so are those of untried mixtures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.diagnostics import effective_sample_size as ess
from scipy.stats import multivariate_normal, norm

import lawful
from lawful import handlers, inference
from lawful.models.papers.data_mixtures import choose, correlations, data_mixtures, powers

RNG = np.random.default_rng(9)
WEIGHTS, UNTRIED = RNG.dirichlet(np.ones(3), size=8), RNG.dirichlet(np.ones(3), size=4)
LOSS = np.stack([np.cos(3 * np.sqrt(WEIGHTS[:, 0])), 1 - 2 * np.sqrt(WEIGHTS[:, 1])], axis=1)
AT = {
    "log_length": RNG.normal(size=(2, 3)),
    "log_power": np.array([-0.7, -1.5]),
    "log_height": np.array([0.3, -0.2]),
    "level": np.array([0.4, -0.1]),
    "log_noise": np.array([-1.5, -0.7]),
    "growth": np.array([0.8, -0.3]),
}


def power(share, exponent, least=1e-3):
    low, high = least**exponent, (1 + least) ** exponent
    return ((share + least) ** exponent - low) / (high - low)


def covariance(j, weights, others):
    """Height^2 times Matern 5/2, by one pair after the other."""
    exponent, length = np.exp(AT["log_power"][j]), np.exp(AT["log_length"][j])
    found = np.empty((len(weights), len(others)))
    for i, w in enumerate(weights):
        for k, v in enumerate(others):
            r = np.sqrt(5 * sum(((power(w, exponent) - power(v, exponent)) / length) ** 2))
            found[i, k] = np.exp(AT["log_height"][j]) ** 2 * (1 + r + r * r / 3) * np.exp(-r)
    return found


def error(j, weights):
    """Variances of the errors."""
    return np.exp(2 * (AT["log_noise"][j] + AT["growth"][j] * np.sum(weights**2, axis=1)))


def seen(j):
    """The covariance of known losses."""
    return covariance(j, WEIGHTS, WEIGHTS) + np.diag(error(j, WEIGHTS))


def test_powers_keep_nought_and_one_and_have_bounded_slopes():
    with jax.enable_x64(True):
        shares = jnp.array([[0.0, 0.3, 1.0]])
        found = powers(shares, jnp.array([0.05, 1.0]))
        assert np.abs(found - power(np.asarray(shares), np.array([0.05, 1.0])[:, None, None])).max() < 1e-12
        assert np.allclose(found[:, 0, [0, 2]], [0.0, 1.0]) and np.isclose(found[1, 0, 1], 0.3)
        assert np.isfinite(jax.jacfwd(lambda exponent: powers(shares, exponent))(0.1)).all()


def test_correlations_have_a_slope_at_equal_points():
    with jax.enable_x64(True):
        edge = jnp.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
        assert np.abs(np.diag(correlations(edge, edge, jnp.ones(3))) - 1).max() < 1e-11
        assert np.isfinite(jax.grad(lambda scale: correlations(edge, edge, scale * jnp.ones(3)).sum())(1.0))


def test_the_density_is_that_of_normal_losses_independent_of_each_other():
    prior = {"log_power": (-1, 0.5), "log_height": (0.5, 1), "level": (0, 2), "log_noise": (-3, 1.5), "growth": (0, 2)}
    with jax.enable_x64(True):
        found = float(lawful.trace(data_mixtures, WEIGHTS, LOSS).log_density(AT, WEIGHTS, LOSS))
        one = lawful.trace(data_mixtures, WEIGHTS, LOSS[:, :1])
        parts = [
            float(one.log_density({k: v[j : j + 1] for k, v in AT.items()}, WEIGHTS, LOSS[:, j : j + 1]))
            for j in range(2)
        ]
    expected = norm.logpdf(AT["log_length"]).sum()
    expected += sum(norm.logpdf(AT[name], *moments).sum() for name, moments in prior.items())
    expected += sum(multivariate_normal.logpdf(LOSS[:, j], np.full(8, AT["level"][j]), seen(j)) for j in range(2))
    assert abs(found - expected) < 1e-10 * abs(expected)
    assert abs(found - sum(parts)) < 1e-10 * abs(expected)


def test_forecasts_are_those_of_the_dense_formula():
    """Mean and variance by an explicit inverse; the density of joint draws; each loss from all the others."""
    values = {**AT, "untried": RNG.normal(size=(3, 2, 4))}
    with jax.enable_x64(True):
        form = lawful.trace(data_mixtures, WEIGHTS, LOSS, UNTRIED, 3)
        found = float(form.log_density(values, WEIGHTS, LOSS, UNTRIED, 3))
        found -= float(lawful.trace(data_mixtures, WEIGHTS, LOSS).log_density(AT, WEIGHTS, LOSS))
        drawn = inference.predictive(None, handlers.do(data_mixtures, AT), WEIGHTS, LOSS, UNTRIED, 3, draws=1)
    expected = 0.0
    for j in range(2):
        inverse, across = np.linalg.inv(seen(j)), covariance(j, WEIGHTS, UNTRIED)
        mean = AT["level"][j] + across.T @ inverse @ (LOSS[:, j] - AT["level"][j])
        within = covariance(j, UNTRIED, UNTRIED) - across.T @ inverse @ across
        assert np.abs(drawn["mean"][0, 0, j] - mean).max() < 1e-10
        assert np.abs(drawn["sd"][0, 0, j] ** 2 - np.diag(within) - error(j, UNTRIED)).max() < 1e-10
        within += 1e-8 * np.exp(AT["log_height"][j]) ** 2 * np.eye(4)
        expected += multivariate_normal.logpdf(values["untried"][:, j], mean, within).sum()
        for i in range(8):
            rest = np.delete(np.arange(8), i)
            gain = seen(j)[i, rest] @ np.linalg.inv(seen(j)[np.ix_(rest, rest)])
            off = LOSS[i, j] - AT["level"][j] - gain @ (LOSS[rest, j] - AT["level"][j])
            assert abs(drawn["left_out"][0, 0, j, i] - off / np.sqrt(seen(j)[i, i] - gain @ seen(j)[rest, i])) < 1e-10
    assert abs(found - expected) < 1e-7 * abs(expected)


def test_the_choice_is_that_of_least_expected_loss_and_not_the_most_often_best():
    losses = np.array([[1.0, 0.9], [1.0, 0.9], [1.0, 2.0]])
    found = choose(losses)
    assert found.mixture == 0 and np.isclose(found.chance, 1 / 3)
    assert np.isclose(found.loss, 1.0) and np.isclose(found.regret, 0.2 / 3)


HELD = {name: AT[name][:1] for name in ("log_length", "log_power", "log_height", "growth")}
NOISE, LEVEL = np.linspace(-9.0, 1.5, 211), np.linspace(-6.5, 6.5, 131)


def surface():
    """The log density of the log noise and the level on a grid, the other hyper-parameters held."""
    args = (WEIGHTS, LOSS[:, :1])
    form = lawful.trace(handlers.condition(data_mixtures, HELD), *args)
    both = jnp.stack([x.ravel() for x in jnp.meshgrid(NOISE, LEVEL, indexing="ij")], axis=1)
    density = jax.jit(lambda x: form.log_density({"log_noise": x[:1], "level": x[1:]}, *args))
    return np.asarray(jax.lax.map(density, both, batch_size=2048)).reshape(len(NOISE), len(LEVEL))


@pytest.mark.slow
def test_a_search_and_chains_and_a_guide_agree_with_a_grid():
    """The mode lies in the best cell of a grid; means of chains and of weighed draws of a guide are those of the grid.

    Effective sizes of 800 or more are asked, so that a mean has a standard error below 0.036 posterior standard
    deviations: a bound of 0.18 is five of these, of four means a false alarm in 400,000 runs, and an error of 0.3
    standard deviations is found with probability 0.999.
    """
    with jax.enable_x64(True):
        held, args = handlers.condition(data_mixtures, HELD), (WEIGHTS, LOSS[:, :1])
        log_density = surface()
        best = inference.maximise(held, starts=4)(jax.random.key(0), *args).optima[0]
        assert best.log_density >= log_density.max() - 1e-9
        row, column = np.unravel_index(log_density.argmax(), log_density.shape)
        assert abs(float(best.values["log_noise"][0]) - NOISE[row]) <= NOISE[1] - NOISE[0]
        assert abs(float(best.values["level"][0]) - LEVEL[column]) <= LEVEL[1] - LEVEL[0]
        nuts = inference.mcmc(held, inference.kernels.nuts(), chains=4, warmup=500, draws=1500)
        guide = inference.guide(held, family="laplace", particles=10_000, runs=4)
        results = [plan(jax.random.key(1), *args) for plan in (nuts, guide)]
    share = np.exp(log_density - np.logaddexp.reduce(log_density, axis=None))
    for name, axis, mass in (("log_noise", NOISE, share.sum(1)), ("level", LEVEL, share.sum(0))):
        mean = float(mass @ axis)
        sd = float(mass @ (axis - mean) ** 2) ** 0.5
        drawn = np.asarray(results[0].posterior[name])[..., 0]
        weighed = np.mean(results[1].posterior[name])
        assert float(ess(drawn)) > 800 and abs(drawn.mean() - mean) < 0.18 * sd, (name, drawn.mean(), mean, sd)
        assert abs(weighed - mean) < 0.18 * sd, (name, weighed, mean, sd)
