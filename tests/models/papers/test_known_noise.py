"""A mixture with known errors has the density of its components' wider normals, and the information of these."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import norm

from lawful import inference
from lawful.inference import kernels
from lawful.models.papers.known_noise import exchange_rates, fisher_information, known_noise, standard_errors

Y = np.array([-2.6, -1.1, 1.3, 2.4, 2.9, -5.0, -0.4, 3.1, 6.2, 0.8])
NOISE = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 3.0, 1.0])
CENTRE, SPREAD, WITHIN = np.array([-2.0, 2.0]), 1.0, 0.9
# The card of the paper: gap, noise, noisy data for a clean one alone and beside many clean ones, as they are printed.
CARD = [
    (2, 1, "4.6", "4.0"), (2, 2, "45", "20"), (2, 3, "291", "51"),
    (4, 1, "3.0", "2.7"), (4, 2, "18", "8.9"), (4, 3, "88", "20"),
    (6, 1, "2.3", "2.2"), (6, 2, "9.6", "7.2"), (6, 3, "38", "16"),
]  # fmt: skip


def terms(weights, mu, y=Y, noise=NOISE):
    """Log density of each datum: weights and means (..., K), data (n,)."""
    scale = np.sqrt(WITHIN**2 + noise**2)[:, None]
    return logsumexp(np.log(weights)[..., None, :] + norm.logpdf(y[:, None], mu[..., None, :], scale), axis=-1)


def test_each_datum_has_the_density_of_the_mixture():
    weights, mu = np.array([0.3, 0.7]), np.array([-1.7, 2.2])
    with jax.enable_x64(True):
        args = jnp.array(Y), jnp.array(NOISE), CENTRE, SPREAD, WITHIN
        found = inference.log_marginals(known_noise, *args, plate="datum", enumerate=["z"])
        assert np.allclose(found({"weights": weights, "mu": mu}), terms(weights, mu), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("gap", "noise", "alone", "beside"), CARD)
def test_the_exchange_rates_are_those_of_the_card(gap, noise, alone, beside):
    """Within half a unit of the last digit that the card prints, and a tenth of that for the author's own rounding."""
    with jax.enable_x64(True):
        found = exchange_rates([0.5, 0.5], [-gap / 2, gap / 2], noise)
    for rate, printed in ((found.alone, alone), (found.beside, beside)):
        unit = 0.1 if "." in printed else 1.0
        assert np.allclose(rate, float(printed), rtol=0, atol=0.55 * unit)


def test_far_components_are_worth_the_ratio_of_their_variances():
    """The labels are known then: a mean of m data has variance (within^2 + noise^2) / m."""
    with jax.enable_x64(True):
        rates = exchange_rates([0.3, 0.7], [-100.0, 100.0], 3.0, 1.5)
        errors = standard_errors([0.3, 0.7], [-100.0, 100.0], np.repeat([0.0, 3.0], [40, 60]), 1.5)
    assert np.allclose(rates, 1 + (3.0 / 1.5) ** 2, rtol=1e-10)
    in_one = 40 / 1.5**2 + 60 / (1.5**2 + 3.0**2)
    assert np.allclose(errors, 1 / np.sqrt(np.array([0.3, 0.7]) * in_one), rtol=1e-10)


def test_the_information_is_minus_the_mean_curvature():
    """The other form of it: adaptive quadrature of scipy over second differences of the log density in the means."""
    weights, mu, step = np.array([0.3, 0.7]), np.array([-1.0, 1.5]), 1e-3

    def curvature(y):
        at = [terms(weights, mu + [0.0, d], np.array([y]), np.array([2.0]))[0] for d in (-step, 0.0, step)]
        return -(at[0] - 2 * at[1] + at[2]) / step**2 * np.exp(at[1])

    with jax.enable_x64(True):
        found = fisher_information(weights, mu, 2.0, WITHIN)
    assert abs(found[2, 2] - quad(curvature, -30.0, 30.0, limit=200)[0]) < 1e-6
    assert np.allclose(found, found.T) and np.linalg.eigvalsh(found).min() > 0


def exact_means():
    """Posterior means of the first weight and of both means: Gauss's rule in the weight, a grid in the means."""
    nodes, rule = np.polynomial.legendre.leggauss(12)  # exact: a polynomial of degree 10, and 11 for its mean
    share = (1 + nodes) / 2
    axis = np.linspace(-7.0, 7.0, 101)
    w, a, b = np.meshgrid(share, axis - 2.0, axis + 2.0, indexing="ij")
    mu = np.stack([a, b], -1)
    log = np.sum(terms(np.stack([w, 1 - w], -1), mu), -1) + np.sum(norm.logpdf(mu, CENTRE, SPREAD), -1)
    mass = np.exp(log - log.max()) * rule[:, None, None]
    return np.array([np.sum(x * mass) for x in (w, a, b)]) / np.sum(mass)


@pytest.mark.slow
def test_trajectories_and_a_grid_have_the_same_posterior():
    """NUTS with the labels summed: means within 5 Monte Carlo standard errors, 3 of them: a false alarm in 5e5 runs.

    The errors are below a twentieth of the posterior's standard deviations; so a mean that is off by a third of one is
    found with a probability above 0.95.
    """
    with jax.enable_x64(True):
        plan = inference.mcmc(known_noise, kernels.nuts(), enumerate=["z"], chains=4, warmup=500, draws=1_000)
        draws = plan(jax.random.key(0), jnp.array(Y), jnp.array(NOISE), CENTRE, SPREAD, WITHIN).posterior
    columns = [np.asarray(draws["weights"])[..., 0], *np.moveaxis(np.asarray(draws["mu"]), -1, 0)]
    for column, truth in zip(columns, exact_means(), strict=True):
        error = float(array_stats.mcse(column, chain_axis=0, draw_axis=1, method="mean"))
        assert error < np.std(column) / 20
        assert abs(np.mean(column) - truth) < 5 * error
