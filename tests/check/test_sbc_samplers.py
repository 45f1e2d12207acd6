"""Every sampler is calibrated on two small models: a scale with a label, and a label whose arm has a site of its own.

Each check simulates 1,000 data sets side by side and would find a posterior that is off by 0.3 of its sd at its share
of the false-alarm rate with probability 0.99. Populations are consistent, not exact, in their number of particles; at
these numbers what is left of it is far below that.
"""

import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.inference import kernels
from lawful.inference.check import sbc

pytestmark = [pytest.mark.tier3, pytest.mark.optimised]


def scale(y):
    """A positive scale and a label, seen in two numbers."""
    sigma = lawful.sample("sigma", dist.Gamma(2.0, 1.0))
    k = lawful.sample("k", dist.Bernoulli(0.4))
    with lawful.plate("i", 2):
        lawful.sample("y", dist.Normal(2.0 * k, sigma), obs=y)


def branch(y):
    """A label and a level, seen in one number; in one arm the level is drawn."""
    b = lawful.sample("b", dist.Bernoulli(0.5))
    level = lawful.cond(b == 1, lambda: lawful.sample("jump", dist.Normal(2.0, 1.0)), lambda: 0.0)
    lawful.sample("y", dist.Normal(level, 1.0), obs=y)


def nearby(current):
    """A proposal program for both."""
    lawful.sample("sigma", dist.LogNormal(jnp.log(current["sigma"]), 0.8))
    lawful.sample("k", dist.Bernoulli(0.5))


def guide(shapes, y):
    """A first guess of the scale."""
    lawful.sample("sigma", dist.Gamma(2.0, 1.0 / (0.5 + jnp.mean(jnp.abs(y)))))


CHAIN = {"chains": 1, "warmup": 50, "draws": 49}
LADDER = [0.2, 1.0]
WALK = kernels.mh(kernels.random_walk(1.2, sites=["sigma"]))
GIBBS = kernels.cycle(WALK, kernels.gibbs())
MIXED = kernels.mixture((1, 1), GIBBS, kernels.mh())


SAMPLERS = {
    (scale, "single site"): lambda p: inference.mcmc(p, thin=20, **CHAIN),
    (scale, "random walk and gibbs"): lambda p: inference.mcmc(p, GIBBS, thin=12, **CHAIN),
    (scale, "independence"): lambda p: inference.mcmc(p, kernels.mh(kernels.independence()), thin=20, **CHAIN),
    (scale, "proposal program"): lambda p: inference.mcmc(p, nearby, thin=20, **CHAIN),
    (scale, "mixture"): lambda p: inference.mcmc(p, MIXED, thin=12, **CHAIN),
    (scale, "sites summed out"): lambda p: inference.mcmc(p, WALK, thin=12, enumerate=["k"], **CHAIN),
    (scale, "guided importance"): lambda p: inference.importance(p, particles=1000, proposal=guide),
    (scale, "smc"): lambda p: inference.smc(p, particles=1000),
    (scale, "tempered"): lambda p: inference.tempered_smc(p, particles=200, kernel=GIBBS, ladder=LADDER, steps=5),
    (scale, "waste-free"): lambda p: inference.tempered_smc(p, particles=500, kernel=GIBBS, ladder=LADDER, chains=50),
    (branch, "single site"): lambda p: inference.mcmc(p, thin=15, **CHAIN),
    (branch, "repeat"): lambda p: inference.mcmc(p, kernels.repeat(kernels.mh(), 2), thin=8, **CHAIN),
    (branch, "importance"): lambda p: inference.importance(p, particles=1000),
    (branch, "smc"): lambda p: inference.smc(p, particles=1000),
    (branch, "tempered"): lambda p: inference.tempered_smc(
        p, particles=200, kernel=kernels.mh(), ladder=LADDER, steps=3
    ),
    (branch, "waste-free"): lambda p: inference.tempered_smc(
        p, particles=500, kernel=kernels.mh(), ladder=LADDER, chains=50
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", SAMPLERS, ids=lambda case: f"{case[1]} on a {case[0].__name__}")
def test_a_sampler_is_calibrated(case):
    report = sbc(
        case[0], SAMPLERS[case], jnp.full(2, 0.5) if case[0] is scale else 0.5, n_sims=1_000, draws=49, bins=10
    )
    assert report.passed, report
    assert report.alpha_spent == 1e-6 / 512
    assert report.detects(0.30)
