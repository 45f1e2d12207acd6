"""Finite sites summed inside other inferences: chains and populations on the marginal, results with the sites."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats
from scipy.special import logsumexp

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference import kernels
from lawful.inference.check.statistics.power import z_critical

SHARES = jnp.array([0.3, 0.3, 0.4])


def mixture(y):
    mu = lawful.sample("mu", dist.Normal(jnp.array([-3.0, 0.0, 3.0]), 1.0).to_event(1))
    with lawful.plate("point", len(y)):
        z = lawful.sample("z", dist.Categorical(SHARES))
        lawful.sample("y", dist.Normal(mu[z], 1.0), obs=y)
    lawful.deterministic("in_the_last", jnp.sum(z == 2))


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(2)
    labels = rng.choice(3, size=100, p=np.asarray(SHARES))
    y = rng.normal(np.array([-2.2, 0.3, 2.6])[labels])
    assert y[0] == pytest.approx(-2.8778861907, abs=1e-9) and y.sum() == pytest.approx(35.6207428, abs=1e-6)
    return y


@pytest.fixture(scope="module")
def chains(points):
    walk = kernels.mh(kernels.random_walk(0.35))
    plan = inference.mcmc(mixture, walk, chains=16, warmup=200, draws=1500, enumerate=["z"])
    return plan, plan(20263, points)


@pytest.mark.slow
def test_a_random_walk_on_the_marginal_of_a_mixture_has_its_moments(chains):
    """Means by a grid of 90^3 points; the effective sample size is above 1,000, so 0.15 sd is 4.7 standard errors.

    The chains keep to the modes of their starts; the others hold 0.4 % and move the means by 0.04 sd.
    """
    _, result = chains
    mu = result.posterior["mu"]
    error = (mu.mean(axis=(0, 1)) - np.array([-2.19262, 0.32991, 2.42497])) / np.array([0.23637, 0.33538, 0.26039])
    assert result.ok, result.warnings
    assert np.abs(error).max() < 0.15


@pytest.mark.slow
def test_the_labels_of_a_run_are_draws_from_their_conditional(chains, points, false_alarm):
    """Given the means, labels are independent: 2.4 million draws, 300 shares; 0.03 is seen at 0.99."""
    _, result = chains
    mu, z = result.posterior["mu"], result.posterior["z"]
    assert z.shape == (16, 1500, 100) and z.dtype == jnp.result_type(int)
    terms = np.log(np.asarray(SHARES)) - 0.5 * (points[:, None] - mu[:, :, None, :]) ** 2
    exact = np.exp(terms - logsumexp(terms, axis=-1, keepdims=True))
    shares = (z[..., None] == np.arange(3)).mean(axis=(0, 1))
    assert np.abs(shares - exact.mean(axis=(0, 1))).max() < z_critical(false_alarm, 300) * 0.5 / np.sqrt(16 * 1500)
    assert np.array_equal(result.posterior["in_the_last"], (z == 2).sum(axis=-1))
    assert result.dims["z"] == ("point",)


@pytest.mark.slow
def test_the_plan_says_what_is_summed_and_what_is_moved(chains, points):
    plan, result = chains
    text = plan.plan(points)
    assert "z: summed out exactly (3 values, 100 elements), drawn back after the run" in text
    assert "mu: normal step of scale 0.35" in text
    assert result.run["enumerated"] == ["z"]
    assert [c.address for c in plan.marginal(points).sites()] == [("mu",)]
    assert {"z", "mu", "in_the_last"} <= set(result.to_datatree()["posterior"].data_vars)


# ---- populations

P = np.array([[0.8, 0.2], [0.3, 0.7]])
GAIN, NOISE = np.array([0.9, -0.5]), np.array([0.5, 2.0])
Y = jnp.array([0.3, -0.4, 2.1])


def switching(y):
    """A state whose dynamics follow a hidden chain, and outliers: linear and Gaussian given both."""

    def step(carry, y):
        s, x = carry
        s = lawful.sample("s", dist.Categorical(jnp.array(P)[s]))
        x = lawful.sample("x", dist.Normal(jnp.array(GAIN)[s] * x, jnp.array(NOISE)[s]))
        o = lawful.sample("o", dist.Bernoulli(0.1))
        lawful.sample("y", dist.Normal(x, jnp.where(o == 1, 3.0, 0.4)), obs=y)
        return (s, x), None

    return lawful.scan(step, (0, 0.0), y)[0][1]


def by_filters():
    """Evidence and posterior means, by one Kalman filter for each path."""
    parts = []
    for s, o in itertools.product(itertools.product(range(2), repeat=3), repeat=2):
        log_mass, before, mean, variance = 0.0, 0, 0.0, 0.0
        for t in range(3):
            log_mass += np.log(P[before, s[t]]) + np.log([0.9, 0.1][o[t]])
            before, noise = s[t], [0.16, 9.0][o[t]]
            mean, variance = GAIN[s[t]] * mean, GAIN[s[t]] ** 2 * variance + NOISE[s[t]] ** 2
            total, rest = variance + noise, float(Y[t]) - mean
            log_mass += -0.5 * np.log(2 * np.pi * total) - 0.5 * rest**2 / total
            mean, variance = mean + variance / total * rest, variance * noise / total
        parts.append((np.exp(log_mass), [mean, *s, *o]))
    masses, values = np.array([m for m, _ in parts]), np.array([v for _, v in parts])
    return masses.sum(), masses @ values / masses.sum()


@pytest.mark.slow
def test_a_particle_filter_on_the_marginal_has_the_evidence_and_the_posterior(false_alarm):
    """16 runs of 1,000 particles, eight means by Student's t; 30 % would be seen."""
    evidence, means = by_filters()
    result = inference.smc(switching, particles=1000, runs=16, enumerate=["s", "o"])(20264, Y)
    draws = result.posterior
    found = np.concatenate([draws["x"][..., -1:], draws["s"], draws["o"]], axis=-1).mean(axis=1)
    for values, exact in ((np.exp(result.log_evidence)[:, None] / evidence, 1.0), (found, means)):
        error = values.mean(axis=0) - exact
        assert (np.abs(error) < stats.t.isf(false_alarm / 16, 15) * values.std(axis=0, ddof=1) / 4 + 1e-12).all()
    assert result.weighted.values["s"].shape == (16, 1000, 3)


def test_importance_sampling_on_the_marginal_has_the_evidence(false_alarm):
    """16 runs of 1,000 particles, by Student's t."""
    result = inference.importance(switching, particles=1000, runs=16, enumerate="o")(20265, Y)
    ratio = np.exp(result.log_evidence) / by_filters()[0]
    assert abs(ratio.mean() - 1) < stats.t.isf(false_alarm / 2, 15) * ratio.std(ddof=1) / 4
    assert result.posterior.keys() == {"s", "x", "o"}


# ---- refusals


def test_a_program_all_of_whose_sites_are_summed_points_to_what_can_answer():
    def coin():
        lawful.factor("f", 1.0 * lawful.sample("z", dist.Bernoulli(0.5)))

    with pytest.raises(LawfulError, match=r"no site is left.*enumeration.*conditional_means"):
        inference.mcmc(coin, enumerate="all", draws=2)(0)


def test_what_a_sum_needs_is_said_where_it_is_not_given():
    with pytest.raises(LawfulError, match="keep='paths'"):
        inference.smc(switching, particles=10, enumerate="all", keep="last")
    with pytest.raises(LawfulError, match="enumerate='all' needs mode='staged'"):
        inference.mcmc(switching, enumerate="all", mode="eager")


@pytest.mark.slow
def test_a_second_run_of_equal_shapes_compiles_nothing_again(chains, points):
    plan, first = chains
    again = plan(20263, points)
    assert all(np.array_equal(again.posterior[name], first.posterior[name]) for name in first.posterior)
    assert jax.tree.all(jax.tree.map(np.array_equal, dict(again.stats), dict(first.stats)))
