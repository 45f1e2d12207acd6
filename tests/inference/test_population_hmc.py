"""Population HMC: the scales are those of the particles, each move keeps the measure of its point."""

import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.stats import multivariate_normal

import lawful
from lawful import inference
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.inference import kernels


def conjugate(y):
    """A normal mean with variance 4 and data of variance 1."""
    mu = lawful.sample("mu", dist.Normal(0.0, 2.0))
    with lawful.plate("i", 4):
        lawful.sample("y", dist.Normal(mu, 1.0), obs=y)


Y = np.array([2.4, 3.1, 1.9, 2.2])
EXACT = multivariate_normal(np.zeros(4), np.eye(4) + 4.0).logpdf(Y)


@pytest.mark.slow
@pytest.mark.tier2
@pytest.mark.parametrize("options", [{"steps": 2}, {"chains": 20}], ids=["steps", "waste-free"])
def test_evidence_and_moments_of_a_conjugate_program(options):
    """40 runs; within six standard errors of the exact numbers, which a bound of 1e-8 allows."""
    plan = inference.tempered_smc(
        conjugate, particles=400, kernel=inference.population_hmc(0.5, 4), ladder=[0.2, 1.0], runs=40, **options
    )
    result = plan(0, Y)
    ratio = np.exp(np.asarray(result.log_evidence) - EXACT)
    assert abs(ratio.mean() - 1) < 6 * ratio.std(ddof=1) / np.sqrt(40)
    means = result.posterior["mu"].mean(axis=1) - Y.sum() / (4 + 0.25)
    assert abs(means.mean()) < 6 * means.std(ddof=1) / np.sqrt(40)
    assert 0.5 < np.nanmean(result.stats["acceptance_rate"]) <= 1.0


def test_what_it_cannot_move_is_told():
    def coins():
        lawful.factor("f", 0.1 * lawful.sample("x", dist.Bernoulli(0.5)))

    plan = inference.tempered_smc(coins, particles=10, kernel=inference.population_hmc(), steps=1)
    with pytest.raises(UnsupportedProgramError, match="population_hmc: site 'x' .* is discrete"):
        plan(0)
    with pytest.raises(LawfulError, match="positive number as step_size"):
        inference.population_hmc(0.0)
    with pytest.raises(LawfulError, match="n_steps: expected an integer of 1 or more"):
        inference.population_hmc(0.1, 0)
    with pytest.raises(LawfulError, match="jitter: expected a share"):
        inference.population_hmc(jitter=1.0)


def test_the_plan_says_how_it_moves():
    plan = inference.tempered_smc(conjugate, particles=10, kernel=inference.population_hmc(0.3, 5), steps=1)
    assert "mu: 5 leapfrogs of 0.3 x the standard deviations of the particles" in plan.plan(Y)


def test_a_kernel_of_given_scales_serves_too():
    result = inference.tempered_smc(conjugate, particles=100, kernel=kernels.hmc(0.3, 4), ladder=[1.0], steps=2)(0, Y)
    assert result.posterior["mu"].shape[1] == 100
