"""Row 3: a weight of +inf is an error that names the site and the step; no policy accepts it."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

from lawful import factor, inference, sample, scan
from lawful.errors import NonFiniteError
from tests.tiers import rest_slow

KEY = jax.random.key(1)
POLICIES = ["error", "dead", "flag"]


def program(when):
    """A factor before, in and after a loop of three steps; one of the five is infinite."""
    x = sample("x", dist.Normal(0.0, 1.0))
    factor("before", jnp.where(when == 0, jnp.inf, 0.1 * x))

    def step(x, t):
        x = sample("walk", dist.Normal(x, 1.0))
        factor("in the loop", jnp.where(when == t + 1, jnp.inf, -(x**2)))
        return x, None

    x, _ = scan(step, x, jnp.arange(3))
    factor("after", jnp.where(when == 4, jnp.inf, 0.1 * x))


@pytest.mark.fault(3)
@pytest.mark.regression("15.5")
@pytest.mark.parametrize("policy", rest_slow(POLICIES))
def test_f03_the_error_names_site_and_step_under_every_policy(policy):
    plan = inference.smc(program, particles=5, runs=2, nonfinite=policy)
    places = [
        ("before the loop", "before", None),
        *((f"at step {t} of the loop", "in the loop", t) for t in range(3)),
        ("after the loop", "after", None),
    ]
    for when, (words, site, step) in enumerate(places):
        with pytest.raises(NonFiniteError, match=rf"a weight is \+inf {words} in run 0 \(site '{site}'\)") as caught:
            plan(KEY, jnp.array(when))
        assert (caught.value.stage, caught.value.step, caught.value.value) == (when, step, "+inf")
        assert "nonfinite=" not in str(caught.value)
    assert plan(KEY, jnp.array(9)).log_evidence.shape == (2,)


@pytest.mark.rest_slow
@pytest.mark.parametrize("policy", POLICIES)
def test_f03_a_density_with_a_pole_at_the_datum(policy):
    def pole(y):
        a = sample("a", dist.Uniform(0.2, 0.8))
        sample("y", dist.Beta(a, 1.0), obs=y)

    for build in (inference.smc, inference.importance):
        with pytest.raises(NonFiniteError, match=r"\+inf.*'y'"):
            build(pole, particles=5, nonfinite=policy)(KEY, 0.0)


def test_f03_a_density_that_overflows():
    def overflow():
        x = sample("x", dist.Normal(0.0, 1.0))
        factor("steep", jnp.exp(800.0 + x))

    with pytest.raises(NonFiniteError, match=r"\+inf.*'steep'"):
        inference.smc(overflow, particles=3)(KEY)


def test_f03_a_weight_near_the_largest_number_is_no_fault():
    def large():
        x = sample("x", dist.Normal(0.0, 1.0))
        factor("large", 1e300 + 0.0 * x)

    assert inference.smc(large, particles=3)(KEY).log_evidence.tolist() == [1e300]
