"""Whole inferences are calibrated on models of the field: data drawn from the model, ranks of the truth uniform.

Each check simulates 1,000 data sets side by side and would find a posterior that is off by 0.35 of its sd at its share
of the false-alarm rate with probability 0.99. The state-space model is in tests/inference/test_particle_mcmc.py, the
discrete and the trans-dimensional one with all samplers in test_sbc_samplers.py.
"""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.inference import kernels
from lawful.inference.check import sbc

pytestmark = [pytest.mark.tier3, pytest.mark.optimised, pytest.mark.slow]

X = np.random.default_rng(0).normal(size=(10, 2))
SD = np.array([15.0, 10.0, 16.0, 11.0])


def schools(effect):
    """Four schools, non-centred."""
    mu = lawful.sample("mu", dist.Normal(0.0, 10.0))
    tau = lawful.sample("tau", dist.LogNormal(2.0, 0.7))
    with lawful.plate("school", 4):
        theta = lawful.sample("theta", dist.Normal(0.0, 1.0))
        lawful.sample("effect", dist.Normal(mu + tau * theta, jnp.asarray(SD)), obs=effect)


def logistic(labels):
    """Logistic regression."""
    beta = lawful.sample("beta", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    with lawful.plate("row", 10):
        lawful.sample("label", dist.Bernoulli(logits=jnp.asarray(X) @ beta), obs=labels)


def counts(y):
    """Counts whose rate differs between groups."""
    shape = lawful.sample("shape", dist.Gamma(3.0, 1.0))
    with lawful.plate("group", 3):
        rate = lawful.sample("rate", dist.Gamma(shape, 1.0))
        lawful.sample("y", dist.Poisson(rate), obs=y)


CHAIN = {"chains": 1, "draws": 49}
CASES = {
    "schools, nuts": (
        schools,
        jnp.zeros(4),
        lambda p: inference.mcmc(p, kernels.nuts(0.4), warmup=100, thin=5, **CHAIN),
    ),
    "logistic, hmc": (
        logistic,
        jnp.zeros(10, int),
        lambda p: inference.mcmc(p, kernels.hmc(0.5, 4), warmup=50, thin=5, **CHAIN),
    ),
    "counts, mala": (
        counts,
        jnp.zeros(3, int),
        lambda p: inference.mcmc(p, kernels.mala(0.4), warmup=100, thin=25, **CHAIN),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_inference_on_a_model_of_the_field_is_calibrated(name):
    model, y, algorithm = CASES[name]
    report = sbc(model, algorithm, y, n_sims=1_000, draws=49, bins=25)
    report.raise_if_failed()
    assert report.detects(0.35)
