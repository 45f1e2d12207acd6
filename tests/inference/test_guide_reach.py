"""What draws of a guide do not reach: modes that searches saw, and places where chains from its draws go."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import lawful
from lawful import inference
from lawful.inference.findings.evidence import kish_ess
from lawful.inference.plans.guides.reach import CHAINS, FIRST, begun, walked
from lawful.inference.plans.guides.verdict import WALKED, unreached
from lawful.inference.plans.searches.target import target_of

from .known_line import known_line, line, line_data

POINTS = np.concatenate([np.linspace(-3, -1, 8), np.linspace(1, 3, 8)])


def mixture(y, low):
    with lawful.plate("component", 2):
        mu = lawful.sample("mu", dist.Normal(low, 3.0))
    parts = dist.Normal(mu, 0.7)
    with lawful.plate("point", len(y)):
        lawful.sample("y", dist.MixtureSameFamily(dist.Categorical(jnp.array([0.5, 0.5])), parts), obs=y)


@pytest.mark.kills("59m")
def test_a_mode_that_searches_saw_is_missed():
    """Labels that may change places give two modes of one half each; a law of one of them has even weights."""
    result = inference.guide(mixture)(0, POINTS, 0.0)
    found = {finding.code: finding for finding in result.reasons}
    assert not result.ok and found["MISSED_MODE"].value > 0.1
    assert kish_ess(result.weighted.log_weight).min() > 0.5 * 2000


def test_no_mode_is_missed_where_there_is_one():
    x, y = line_data()
    mean, _, _ = known_line(x, y)
    result = inference.guide(line, family="normal")(0, x, y)
    assert result.ok and np.allclose(result.posterior["slopes"].mean((0, 1)), mean, atol=0.05)
    told = inference.guide(mixture)(0, POINTS, jnp.array([-30.0, 2.0]))
    assert "MISSED_MODE" not in {finding.code for finding in told.reasons}


def chains_of(program, draws, log_weight, seed=0):
    """Where chains end that begin at weighed draws, in coordinates without bounds."""
    frame = target_of(lawful.trace(program), "guide").frame
    starts = begun(jax.random.key(seed), draws, log_weight)
    return starts, walked(jax.random.key(100 + seed), frame, (), draws, starts)


def heavy():
    lawful.sample("x", dist.StudentT(3.0, 1.0, 2.0).expand([2]).to_event(1))


def test_chains_keep_the_distribution():
    """Draws of t laws stay draws of them, and go far; false alarms: 1e-9 each by K-S of 256 draws."""
    draws = 1.0 + 2.0 * np.random.default_rng(0).standard_t(3.0, size=(FIRST, 2))
    starts, ends = chains_of(heavy, jnp.asarray(draws), jnp.zeros(FIRST))
    for place in np.asarray(ends.position).T:
        assert stats.kstest(place, stats.t(3.0, 1.0, 2.0).cdf).pvalue > 1e-9
    law = stats.t(3.0, 1.0, 2.0)
    np.testing.assert_allclose(ends.log_density, law.logpdf(ends.position).sum(1), rtol=1e-4)
    assert np.mean(np.linalg.norm(ends.position - starts, axis=1)) > 2.0


@pytest.mark.kills("59q", reached=False)
@pytest.mark.parametrize("reached", [True, False])
def test_chains_tell_what_a_guide_leaves_out(reached):
    """Weights of a guide of one side of a bent law are even; chains go round to the other side."""

    def bent():  # y follows x^2 closely
        x = lawful.sample("x", dist.Normal(0.0, 1.0))
        lawful.sample("y", dist.Normal(x**2, 0.1))

    def log_guide(x, y):  # the law itself, or the part of it to the left of -0.5
        own = stats.norm.logpdf(x) + stats.norm.logpdf(y, x**2, 0.1)
        left = stats.truncnorm(-np.inf, -0.5).logpdf(x) + stats.norm.logpdf(y, x**2, 0.1)
        return own if reached else np.logaddexp(left, own - 20.0)

    rng = np.random.default_rng(1)
    x = stats.norm.rvs(size=FIRST, random_state=rng)
    x = x if reached else stats.truncnorm.rvs(-np.inf, -0.5, size=FIRST, random_state=rng)
    draws = np.stack([x, rng.normal(x**2, 0.1)], axis=1)
    log_p = stats.norm.logpdf(draws[:, 0]) + stats.norm.logpdf(draws[:, 1], draws[:, 0] ** 2, 0.1)
    log_weight = log_p - log_guide(*draws.T)
    assert np.ptp(log_weight) < 1e-6
    _, ends = chains_of(bent, jnp.asarray(draws), jnp.asarray(log_weight))
    beyond = np.asarray(ends.log_density) - log_guide(*np.asarray(ends.position, float).T)
    told = list(unreached(log_weight[None], beyond))
    if reached:
        assert not told
    else:
        assert [finding.code for finding in told] == ["UNREACHED"] and told[0].value > 0.2


def test_few_places_are_no_finding():
    high = np.zeros((1, 10))
    few = int(WALKED * CHAINS)
    chains = np.where(np.arange(CHAINS) < few, 5.0, 0.0)
    assert not list(unreached(high, chains)) and not list(unreached(high, np.zeros(0)))
    assert list(unreached(high, np.where(np.arange(CHAINS) <= few, 5.0, 0.0)))
    assert not list(unreached(high, np.full(CHAINS, np.nan)))


@pytest.mark.parametrize("deep", [True, False])
def test_a_flow_says_where_it_does_not_come(deep):
    """A funnel of ten dimensions is more than few steps can bend; a normal posterior is not."""

    def funnel():
        v = lawful.sample("v", dist.Normal(0.0, 3.0))
        lawful.sample("x", dist.Normal(jnp.zeros(9), jnp.exp(0.5 * v)).to_event(1))

    if deep:
        result = inference.guide(funnel, family="flow", steps=200)(0)
    else:
        result = inference.guide(line, family="flow", steps=200)(0, *line_data())
        assert result.ok
    assert ("UNREACHED" in {finding.code for finding in result.reasons}) == deep
