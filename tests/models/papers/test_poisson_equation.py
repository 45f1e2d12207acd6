"""A Poisson equation as a process has the density and the solution of its closed form, and other methods agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy.stats import lognorm, multivariate_normal, norm

import lawful
from lawful import inference
from lawful.inference import kernels
from lawful.models.gaussian_process import matern_states
from lawful.models.papers.poisson_equation import poisson_equation, solution
from lawful.models.state_space import linear_gaussian

X, EDGE = np.linspace(0.0, 1.2, 9), np.array([-0.1, 1.3])
F, VALUE = np.array([-3.0, 1.0, 4.0, 2.0, -1.0, -5.0, -2.0, 0.5, 3.0]), np.array([0.2, -0.4])
FREQUENCY, JITTER, ASKED = np.array([0.0, 1.5, 4.0]), 1e-2, np.array([0.1, 0.66, 1.25])
VALUES = {"log_height": np.array([-1.0, 0.3, -2.0]), "length": 0.8}


def derivative_of_kernel(order, lag, height, frequency, length):
    """M cos, differentiated 0, 2 or 4 times in the lag: polynomials of textbooks and Leibniz's rule."""
    a, w, sign = np.sqrt(5) * np.abs(lag) / length, 2 * np.pi * frequency, np.sign(lag)
    bump = [1 + a + a**2 / 3, -(a + a**2) / 3, (-1 - a + a**2) / 3, a - a**2 / 3, 1 - 5 * a / 3 + a**2 / 3]
    bump = [(np.sqrt(5) / length * sign) ** n * p * np.exp(-a) if n % 2 else
            (np.sqrt(5) / length) ** n * p * np.exp(-a) for n, p in enumerate(bump)]  # fmt: skip
    turns = [np.cos(w * lag), -w * np.sin(w * lag), -(w**2) * np.cos(w * lag)]
    turns += [w**3 * np.sin(w * lag), w**4 * np.cos(w * lag)]
    choose = {0: [1], 2: [1, 2, 1], 4: [1, 4, 6, 4, 1]}[order]
    return height * sum(c * bump[order - k] * turns[k] for k, c in enumerate(choose))


def block(first, second, x, y, height, length, frequency=FREQUENCY):
    """Covariances of derivatives of orders 0 or 2 at points."""
    lag = np.asarray(x)[:, None] - np.asarray(y)
    terms = zip(height, frequency, strict=True)
    return sum(derivative_of_kernel(first + second, lag, h, turns, length) for h, turns in terms)


def joint(height, length, frequency=FREQUENCY):
    """Covariance of the edge and the inside, errors included, and that of both with the solution where asked."""
    args = height, length, frequency
    sides = ((0, EDGE), (2, X))
    table = np.block([[block(m, n, x, y, *args) for n, y in sides] for m, x in sides])
    errors = [JITTER**2 * block(m, m, x[:1], x[:1], *args)[0, 0] * np.ones(len(x)) for m, x in sides]
    return table + np.diag(np.concatenate(errors)), np.concatenate([block(m, 0, x, ASKED, *args) for m, x in sides])


def test_the_density_is_that_of_the_normal_law_of_edge_and_inside():
    seen = np.concatenate([VALUE, F])
    with jax.enable_x64(True):
        args = X, F, EDGE, VALUE, FREQUENCY, JITTER
        found = float(lawful.trace(poisson_equation, *args).log_density(VALUES, *args))
    table, _ = joint(np.exp(VALUES["log_height"]), VALUES["length"])
    exact = multivariate_normal.logpdf(seen, np.zeros(len(seen)), table) + lognorm.logpdf(VALUES["length"], 0.5)
    exact += norm.logpdf(VALUES["log_height"], -np.log(3), 4.0).sum()
    assert abs(found - exact) < 1e-10 * abs(exact)


def test_the_solution_has_the_moments_of_conditioning():
    with jax.enable_x64(True):
        found = jax.jit(solution)(VALUES, ASKED, X, F, EDGE, VALUE, FREQUENCY, JITTER)
    height = np.exp(VALUES["log_height"])
    table, across = joint(height, VALUES["length"])
    gain = np.linalg.solve(table, across)
    assert np.allclose(found.mean, gain.T @ np.concatenate([VALUE, F]), rtol=0, atol=1e-10)
    exact = block(0, 0, ASKED, ASKED, height, VALUES["length"]) - across.T @ gain
    assert np.allclose(found.covariance, exact, rtol=0, atol=1e-10)


@pytest.mark.slow
def test_a_filter_solves_the_equation_where_the_spectrum_has_one_bump_at_zero():
    """Matern's process as a state of derivatives, which is seen at the edges and in its second one inside."""
    height, length, turns = 0.7, 0.9, np.zeros(1)
    times = np.concatenate([EDGE[:1], X, EDGE[1:]])
    order = np.array([0] + [2] * len(X) + [0])
    variances = [block(n, n, EDGE[:1], EDGE[:1], [height], length, turns)[0, 0] for n in (0, 2)]
    noise = JITTER * np.sqrt(np.array(variances))[order // 2]
    with jax.enable_x64(True):
        states = matern_states(times, noise, length, np.sqrt(height), seen=order)
        y = np.concatenate([VALUE[:1], F, VALUE[1:]])
        by_filter = inference.smoothed(linear_gaussian, states, y[:, None])
        args = X, F, EDGE, VALUE, turns, JITTER
        values = {"log_height": jnp.log(jnp.array([height])), "length": length}
        found = solution(values, times, *args)
        density = float(lawful.trace(poisson_equation, *args).log_density(values, *args))
    prior = norm.logpdf(np.log(height), 0.0, 4.0) + lognorm.logpdf(length, 0.5)
    assert abs(by_filter.log_evidence - (density - prior)) < 1e-9 * abs(density)
    assert np.allclose(by_filter.mean["x"][:, 0], found.mean, rtol=0, atol=1e-9)
    assert np.allclose(np.asarray(by_filter.covariance["x"])[:, 0, 0], np.diag(found.covariance), rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.tier2
def test_nuts_and_quadrature_agree_on_hyper_parameters_and_solution():
    """One bump; a grid over its log height and log length, whose ends have no mass.

    Six standard errors on two means, whose errors are found from the chains: a false alarm less often than 1e-7. A
    difference of 0.3 posterior standard deviations is found with probability above 0.99, at 400 effective draws.
    """
    turns, seen = np.array([1.5]), np.concatenate([VALUE, F])
    axes = np.linspace(-8.0, 14.0, 89), np.linspace(-3.0, 3.0, 81)
    log_mass, means = np.empty((89, 81)), np.empty((89, 81))
    for i, log_height in enumerate(axes[0]):
        for j, log_length in enumerate(axes[1]):
            table, across = joint([np.exp(log_height)], np.exp(log_length), turns)
            root = np.linalg.cholesky(table)
            white = np.linalg.solve(root, seen)
            log_mass[i, j] = -0.5 * white @ white - np.log(np.diag(root)).sum()
            log_mass[i, j] += norm.logpdf(log_height, 0.0, 4.0) + norm.logpdf(log_length, 0.0, 0.5)
            means[i, j] = np.linalg.solve(root, across[:, 1]) @ white
    mass = np.exp(log_mass - log_mass.max())
    mass /= mass.sum()
    assert max(mass[[0, -1]].sum(), mass[:, [0, -1]].sum()) < 1e-8
    truths = (mass.sum(1) @ axes[0], mass.sum(0) @ axes[1], np.sum(mass * means))
    with jax.enable_x64(True):
        plan = inference.mcmc(poisson_equation, kernels.nuts(), chains=4, warmup=300, draws=500)
        args = X, F, EDGE, VALUE, turns, JITTER
        result = plan(jax.random.key(0), *args)
        draws = {k: jnp.asarray(result.posterior[k]) for k in ("log_height", "length")}
        each = jax.jit(jax.vmap(jax.vmap(lambda v: solution(v, ASKED[1:2], *args).mean[0])))
        chains = (draws["log_height"][..., 0], jnp.log(draws["length"]), each(draws))
    for chain, truth in zip(chains, truths, strict=True):
        error = float(array_stats.mcse(np.asarray(chain), chain_axis=0, draw_axis=1, method="mean"))
        assert error < np.std(chain) / 10
        assert abs(np.mean(chain) - truth) < 6 * error


@pytest.mark.slow
def test_a_search_over_hyper_parameters_brings_the_solution_nearer():
    """The sine of 100x with two and a half points a period; the search takes 300 times off the error."""
    with jax.enable_x64(True):
        x, edge, asked = jnp.linspace(0.0, 2.0, 80), jnp.array([0.0, 2.0]), jnp.linspace(0.0, 2.0, 1_001)
        args = x, -1e4 * jnp.sin(100 * x), edge, jnp.sin(100 * edge), jnp.linspace(0.0, 20.0, 20), 1e-4
        start = {"log_height": jnp.full(20, -jnp.log(20)), "length": jnp.array(1.0)}
        result = inference.maximise(poisson_equation, starts=1, steps=300, init=start)(jax.random.key(0), *args)
        errors = [
            float(jnp.max(jnp.abs(solution(values, asked, *args).mean - jnp.sin(100 * asked))))
            for values in (start, {k: jnp.asarray(v) for k, v in result.optima[0].values.items()})
        ]
    assert errors[1] < 5e-4 and errors[1] < errors[0] / 100
