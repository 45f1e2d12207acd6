"""Annealed importance sampling: an unbiased evidence, exact moments, and the ladders that are asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference import kernels

Y = jnp.array([2.0, 2.5, 1.5, 3.0])
EXACT = stats.multivariate_normal.logpdf([2.0, 2.5, 1.5, 3.0], cov=np.eye(4) + 4.0)


def level(y):
    mu = lawful.sample("mu", dist.Normal(0.0, 2.0))
    with lawful.plate("i", 4):
        lawful.sample("y", dist.Normal(mu, 1.0), obs=y)


@pytest.mark.slow
def test_the_evidence_is_unbiased_and_weighted_moments_are_exact():
    """4000 runs of 4 particles, a kernel that does not adapt: within 6 standard errors, but once in 10^9."""
    plan = inference.annealed_importance(level, particles=4, kernel=kernels.random_walk(0.8), ladder=4, runs=4000)
    result = plan(jax.random.key(0), Y)
    ratios = np.exp(np.asarray(result.log_evidence) - EXACT)
    assert abs(ratios.mean() - 1.0) < 6 * ratios.std() / np.sqrt(len(ratios))
    assert ratios.std() < 1.0
    precision = len(Y) + 0.25  # of the posterior
    for power, expected in ((1, Y.sum() / precision), (2, 1 / precision + (Y.sum() / precision) ** 2)):
        terms = ratios * (np.asarray(result.posterior["mu"]) ** power).mean(axis=1)
        assert abs(terms.mean() - float(expected)) < 6 * terms.std() / np.sqrt(len(terms))


def test_more_powers_give_more_even_weights():
    def ess(ladder):
        plan = inference.annealed_importance(level, particles=200, kernel=kernels.random_walk(0.8), ladder=ladder)
        return float(np.asarray(plan(jax.random.key(1), Y).stats["ess"])[0, -1])

    assert ess(2) + 20 < ess(40)


@pytest.mark.slow
def test_ladders_are_a_number_of_powers_or_the_powers():
    run = lambda ladder: inference.annealed_importance(level, particles=10, ladder=ladder)(jax.random.key(0), Y)
    np.testing.assert_allclose(np.asarray(run(2).stats["beta"])[0], [0.5**4, 1.0])
    np.testing.assert_allclose(np.asarray(run([0.3, 1.0]).stats["beta"])[0], [0.3, 1.0], rtol=1e-6)
    with pytest.raises(LawfulError, match="ladder"):
        run([0.3, 0.9])
    with pytest.raises(LawfulError, match="ladder: expected an integer of 1 or more, got 0"):
        run(0)
    with pytest.raises(LawfulError, match="steps: expected an integer of 1 or more, got 0"):
        inference.annealed_importance(level, particles=10, steps=0)


@pytest.mark.slow
def test_the_pareto_k_of_the_weights_is_in_the_tree():
    result = inference.annealed_importance(level, particles=200, ladder=4, runs=2)(jax.random.key(1), Y)
    told = result.to_datatree()["sample_stats_smc"]
    assert told.pareto_k.dims == ("chain",) and np.all(told.pareto_k < 0.7)
