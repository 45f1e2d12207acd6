"""Row 39: a loop that reaches its bound loses mass, which is measured and reported; the rest is what it was."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import bounded_loop, factor, inference, sample
from lawful.inference.check import enumerate_measure

KEY = jax.random.key(39)


def geometric(p, bound=3):
    def heads(count):
        return sample("heads", dist.Bernoulli(p)) == 1

    return bounded_loop(heads, lambda count: count + 1, 0, max_steps=bound)


@pytest.mark.fault(39)
@pytest.mark.kills("55", mode="staged", p=0.5)
@pytest.mark.parametrize("mode", ["staged", "eager"])
@pytest.mark.parametrize("p", [0.5, 0.25, 0.0])
def test_f39_the_deficit_is_the_probability_of_overflow(mode, p):
    exact = inference.enumerate(geometric, mode=mode)(p)
    assert exact.overflow == pytest.approx(p**4, rel=1e-12, abs=1e-300)
    assert np.exp(exact.log_evidence) + exact.overflow == pytest.approx(1.0, rel=1e-12)
    expected = {k: p**k * (1 - p) / (1 - p**4) for k in range(4) if p**k > 0}
    assert exact.marginal("return") == pytest.approx(expected, rel=1e-12)


def test_f39_the_deficit_is_exact_in_fractions():
    measure = enumerate_measure(geometric, 1 / 3, arithmetic="rational")
    assert measure.overflow + measure.total() == 1
    assert float(measure.overflow) == pytest.approx(1 / 81, rel=1e-15)


def test_f39_a_loop_that_never_reaches_its_bound_loses_nothing():
    def model():
        return bounded_loop(lambda n: n < 3, lambda n: n + sample("x", dist.Bernoulli(0.5)) * 0 + 1, 0, max_steps=3)

    exact = inference.enumerate(model)()
    assert exact.overflow == 0.0 and exact.log_evidence == pytest.approx(0.0, abs=1e-12)
    result = inference.importance(model, particles=64)(KEY)
    assert "OVERFLOW" not in {finding.code for finding in result.reasons}


def weighed(p):
    n = geometric(p)
    factor("f", -0.5 * n)
    return n


@pytest.mark.parametrize("mode", ["staged", "eager"])
def test_f39_what_comes_after_the_loop_does_not_change_what_it_lost(mode):
    assert inference.enumerate(weighed, mode=mode)(0.5).overflow == pytest.approx(1 / 16, rel=1e-12)


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    "build",
    [
        lambda: inference.importance(weighed, particles=1000),
        lambda: inference.smc(weighed, particles=1000),
        lambda: inference.mcmc(weighed, draws=100, chains=2, warmup=10),
    ],
    ids=["importance", "smc", "mcmc"],
)
def test_f39_every_inference_estimates_and_reports_it(build):
    """The estimate is a mean of 2048 coins of 1/16, so it is within 6 sd, 0.033, but once in 10^8."""
    result = build()(KEY, 0.5)
    found = {finding.code: finding for finding in result.reasons}
    assert "OVERFLOW" in found and not result.ok
    assert found["OVERFLOW"].value == pytest.approx(1 / 16, abs=0.033)
    assert found["OVERFLOW"].sites == ("loop",)
    assert "max_steps" in found["OVERFLOW"].message
    draws = np.asarray(result.posterior["heads"])
    assert not np.any(np.nansum(draws == 1, axis=-1) == 4)


def test_f39_the_posterior_is_the_restriction():
    exact = inference.enumerate(weighed)(0.5)
    result = inference.importance(weighed, particles=8_000, runs=2)(KEY, 0.5)
    assert result.log_evidence_pooled == pytest.approx(exact.log_evidence, abs=0.03)


def test_f39_a_gradient_through_the_loop_is_finite():
    import lawful

    def model(mu):
        def step(x):
            return x + sample("dx", dist.Normal(mu, 0.1))

        x = bounded_loop(lambda x: x < 1.0, step, 0.0, max_steps=3)
        sample("y", dist.Normal(x, 1.0), obs=1.0)

    form = lawful.trace(model, 0.6)
    choices = {"dx": jnp.array([0.6, 0.6, 0.0])}
    assert np.isfinite(jax.grad(lambda mu: form.log_density(choices, mu))(0.6))
    assert form.log_density({"dx": jnp.array([0.1, 0.1, 0.1])}, 0.6) == -jnp.inf
