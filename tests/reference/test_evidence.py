"""E[Z-hat] = Z on the conjugate and enumerated cases of the reference data; tests/inference/test_smc.py has sequences.

Each check runs at the share of one registered check and finds a bias of 5 % with probability 0.99.
"""

import functools

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

from lawful import inference, plate, sample, scan
from lawful.backends.xla import emit
from lawful.inference import kernels
from lawful.inference.check import unbiased
from tests.inference.cases import branching, read, regression

pytestmark = [pytest.mark.reference, pytest.mark.tier2, pytest.mark.optimised]


def coin(case):
    def model(y):
        p = sample("p", dist.Beta(case["model"]["a"], case["model"]["b"]))
        sample("y", dist.Bernoulli(p).expand(y.shape), obs=y)

    return model, (jnp.array(case["data"]["y"]),)


def rate(case):
    def model(y):
        rate = sample("rate", dist.Gamma(case["model"]["shape"], case["model"]["rate"]))
        sample("y", dist.Poisson(rate).expand(y.shape), obs=y)

    return model, (jnp.array(case["data"]["y"]),)


def conjugate_regression(case):
    return regression(case["model"]), tuple(jnp.array(case["data"][k]) for k in ("X", "y"))


def mixture(case):
    """Means first, then one point after the other with its label: a filter."""
    given = case["model"]

    def model(y):
        with plate("component", given["K"]):
            mu = sample("mu", dist.Normal(0.0, given["prior_variance"] ** 0.5))

        def step(carry, y):
            z = sample("z", dist.DiscreteUniform(0, given["K"] - 1))
            sample("y", dist.Normal(mu[z], given["noise_variance"] ** 0.5), obs=y)
            return carry, None

        scan(step, 0.0, y)

    return model, (jnp.array(case["data"]["y"]),)


def as_many_as_it_likes(case):
    return branching, (jnp.array(case["data"]["sum_of_draws"]),)


def least_squares(x, y):
    """A proposal for the regression: around least squares, wider than the posterior."""
    root = jnp.linalg.cholesky(jnp.linalg.inv(x.T @ x))
    centre = jnp.linalg.lstsq(x, y)[0]
    rest = jnp.sum((y - x @ centre) ** 2)
    variance = sample("variance", dist.InverseGamma(0.4 * len(y), 0.4 * rest))
    sample("beta", dist.MultivariateNormal(centre, scale_tril=1.3 * jnp.sqrt(variance) * root))


WALK = kernels.mh(kernels.random_walk(0.7))
tempered = functools.partial(inference.tempered_smc, kernel=WALK, ladder=[0.3, 1.0], steps=2)
guided = functools.partial(inference.importance, proposal=least_squares)
CASES = {
    "beta_bernoulli": (coin, inference.importance, 50),
    "mixture_enumerated": (mixture, functools.partial(inference.smc, resampling="stratified"), 300),
    "branching_program": (as_many_as_it_likes, inference.importance, 50),
    "gamma_poisson": (rate, tempered, 50),
    "linreg_nig": (conjugate_regression, guided, 100),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)  # all have tests of their own in every run
def test_the_evidence_is_unbiased(name, data):
    build, algorithm, particles = CASES[name]
    case = read(data, name)
    model, args = build(case)
    run = emit(algorithm(model, particles=particles, keep="last").form(*args))

    @jax.jit
    @jax.vmap
    def estimator(key):
        return run(key, *args)[1]

    report = unbiased(estimator, case["exact"]["log_evidence"], n=4_000)
    assert report.passed, report
    assert report.detects(0.05), report
