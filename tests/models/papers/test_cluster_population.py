"""Clusters in a selected catalogue: densities against quadratures written anew, and two inferences that agree."""

import jax
import numpy as np
import pytest
from scipy import integrate, stats

import lawful
from lawful import inference
from lawful.inference import kernels
from lawful.models.papers import cluster_population as clusters
from lawful.models.papers.cluster_population import FIDUCIAL, Catalogue, Masses, Skewed, population

SKEWED = {**FIDUCIAL, "fraction": 0.3, "tail": 0.6}
SEEN = Catalogue(np.log([35.0]), np.array([6.0]), np.array([6.0]), np.array([0.5]))
UNSEEN = Catalogue(np.log([35.0]), np.array([-np.inf]), np.array([4.5]), np.array([0.5]))


def by_hand(relation, data, low, high, nodes=4_000):
    """Log density of one cluster given that it is rich enough: a trapezoid over masses, all laws of SciPy."""
    log_mass = np.linspace(np.log(10**13.8 / 3e14), np.log(10**15.3 / 3e14), nodes)
    function = np.exp(-2.5 * log_mass - np.exp(log_mass) / 3.0)
    mean = relation["amplitude"] + relation["slope"] * log_mass
    mean = mean + relation["evolution"] * np.log(1.5 / 1.45)
    scale = np.sqrt(relation["scatter"] ** 2 + np.exp(-mean))
    plain = stats.norm(mean, scale)
    rich, enough = plain.pdf(data.richness[0]), plain.sf(np.log(30.0))
    if "fraction" in relation:
        skewed = stats.exponnorm(relation["tail"] / scale, mean, scale)
        rich = (1 - relation["fraction"]) * rich + relation["fraction"] * skewed.pdf(data.richness[0])
        enough = (1 - relation["fraction"]) * enough + relation["fraction"] * skewed.sf(np.log(30.0))
    expansion = 0.5 * np.log((0.3 * 1.5**3 + 0.7) / (0.3 * 1.45**3 + 0.7))
    signal = relation["sz_amplitude"] + relation["sz_slope"] * log_mass + relation["sz_evolution"] * expansion
    mean = np.sqrt(np.exp(2 * signal) + 3.0)
    law = stats.norm(mean, np.sqrt(1.0 + (relation["sz_scatter"] * (mean - 3.0 / mean)) ** 2))
    shadow = law.pdf(high) if low == high else law.cdf(high) - law.cdf(low)
    total = [np.trapezoid(function * part, log_mass) for part in (rich * shadow, enough)]
    return np.log(total[0] / total[1])


@pytest.mark.parametrize("data", [SEEN, UNSEEN], ids=["seen", "below the limit"])
@pytest.mark.parametrize("relation", [FIDUCIAL, SKEWED], ids=["lognormal", "projection"])
def test_a_cluster_has_the_density_of_a_quadrature_written_anew(relation, data):
    variant = "projection" if "fraction" in relation else "lognormal"
    with jax.enable_x64(True):
        form = inference.marginalise("all")(lawful.trace(population, data, variant))
        found = form.log_density(relation, data, variant)
        empty = jax.tree.map(lambda x: x[:0], data)
        prior = lawful.trace(population, empty, variant).log_density(relation, empty, variant)
    assert float(found - prior) == pytest.approx(by_hand(relation, data, data.lower[0], data.upper[0]), abs=2e-6)


def test_more_nodes_change_nothing():
    with jax.enable_x64(True):
        share = [float(clusters.detected(SKEWED, 0.5, Masses.of(count))) for count in (48, 96)]
    assert share[0] == pytest.approx(share[1], rel=1e-10)


def test_the_skewed_law_is_a_normal_one_plus_an_exponential_at_times():
    values = np.linspace(-1.0, 4.0, 9)
    truth = stats.exponnorm(0.7 / 0.3, 0.2, 0.3)
    with jax.enable_x64(True):
        law = Skewed(0.2, 0.3, 0.25, 0.7)
        density, below = np.exp(law.log_prob(values)), np.asarray(law.cdf(values))
    plain = stats.norm(0.2, 0.3)
    assert density == pytest.approx(0.75 * plain.pdf(values) + 0.25 * truth.pdf(values), rel=1e-10)
    assert below == pytest.approx(0.75 * plain.cdf(values) + 0.25 * truth.cdf(values), abs=1e-12)
    assert integrate.quad(lambda x: float(np.exp(law.log_prob(x))), -2, 12)[0] == pytest.approx(1.0, abs=1e-6)


def test_a_catalogue_holds_what_is_rich_enough_and_hides_what_is_below_the_limit():
    data = clusters.draw_catalogue(jax.random.key(0), SKEWED, np.full(40, 0.4))
    assert np.all(data.richness > np.log(30.0))
    seen = data.lower == data.upper
    assert np.all(data.lower[seen] > 4.5) and np.all(data.upper[~seen] == 4.5)
    assert 0 < seen.sum() < 40


@pytest.mark.slow
def test_chains_and_a_weighed_guide_have_the_same_posterior():
    """False alarm 1e-5 for 8 means (5.3 joint standard errors); a bias of 9 is missed with probability 2e-4."""
    data = clusters.draw_catalogue(jax.random.key(1), FIDUCIAL, np.random.default_rng(1).uniform(0.25, 0.65, 60))
    with jax.enable_x64(True):
        form = inference.marginalise("all")(lawful.trace(population, data))
        guide = inference.guide(form, family="laplace", paths=2, particles=2000, runs=4)(jax.random.key(0), data)
        chains = inference.mcmc(form, kernels.nuts(), chains=4, warmup=300, draws=500)(jax.random.key(0), data)
    assert guide.ok and chains.ok
    one, other = guide.summary(), chains.summary()
    for name in FIDUCIAL:
        left, right = one.loc[name], other.loc[name]
        error = np.hypot(left["mcse_runs"], right["mcse_mean"]) + 0.02 * right["sd"]
        assert abs(left["mean"] - right["mean"]) < 5.3 * error
