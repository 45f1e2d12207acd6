"""Row 43: SMC on a program that is never weighed, or once, is exact and remarks that resampling had no effect."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import factor, inference, sample, scan
from tests.inference.tier0 import law_error
from tests.schemes import SCHEMES

KEY = jax.random.key(0)


def never_weighed():
    a = sample("a", dist.Categorical(jnp.array([0.5, 0.3, 0.2])))
    return a + 3 * sample("b", dist.Bernoulli(0.2 + 0.3 * a))


def never_weighed_loop():
    return scan(lambda z, _: (sample("z", dist.Bernoulli(0.2 + 0.5 * z)), None), 0, None, length=2)[0]


def weighed_once():
    a = sample("a", dist.Categorical(jnp.array([0.5, 0.3, 0.2])))
    factor("weight", jnp.log(0.1 + 0.4 * a))
    return a


def weighed_after_a_loop():
    z = never_weighed_loop()
    factor("weight", jnp.where(z == 1, 0.4, -0.6))
    return z


def weighed_once_then_drawn():
    """No pause: what is drawn after the only factor has no weight of its own."""
    a = weighed_once()
    return a + 3 * sample("b", dist.Bernoulli(0.2 + 0.3 * a))


def weighed_twice():
    a = weighed_once()
    scan(lambda carry, _: (carry, factor("again", 0.2 * a)), 0, None, length=1)
    return a


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "program", [never_weighed, never_weighed_loop, weighed_once, weighed_after_a_loop], ids=lambda p: p.__name__
)
def test_f43_the_expected_population_is_the_measure(program, scheme):
    plan = inference.smc(program, particles=2, resampling=scheme, resample_below=None)
    assert law_error(plan, program).error < 1e-12


@pytest.mark.parametrize("program", [never_weighed, never_weighed_loop], ids=lambda p: p.__name__)
def test_f43_without_a_factor_the_evidence_is_exactly_one(program):
    result = inference.smc(program, particles=7, runs=3)(KEY)
    assert result.log_evidence.tolist() == [0.0] * 3
    assert (result.weighted.log_weight == 0).all()


@pytest.mark.rest_slow
@pytest.mark.fault(43)
@pytest.mark.parametrize(
    ("program", "words"),
    [
        (never_weighed, "never weighed"),
        (never_weighed_loop, "never weighed"),
        (weighed_once, "weighed once"),
        (weighed_after_a_loop, "weighed once"),
        (weighed_once_then_drawn, "weighed once"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_f43_a_remark_says_that_resampling_had_no_effect(program, words):
    result = inference.smc(program, particles=400, runs=4)(KEY)
    (finding,) = result.found
    assert finding.code == "IDLE_RESAMPLING" and words in finding.message and "had no effect" in finding.message
    assert finding.status == 0
    assert finding in result.reasons and any("IDLE_RESAMPLING" in text for text in result.warnings)


def test_f43_there_is_no_remark_where_resampling_may_matter():
    assert inference.smc(weighed_twice, particles=4)(KEY).found == ()
    assert inference.importance(weighed_once, particles=4)(KEY).found == ()


@pytest.mark.tier0
def test_f43_a_program_without_a_factor_that_is_guided_has_evidence_one_in_expectation():
    plan = inference.smc(never_weighed, particles=2, proposal=lambda: sample("b", dist.Bernoulli(0.5)))
    assert law_error(plan, never_weighed).error < 1e-12


def test_f43_one_weighing_gives_importance_sampling_with_the_same_key():
    smc, importance = (build(weighed_once, particles=9, runs=2)(KEY) for build in (inference.smc, inference.importance))
    np.testing.assert_allclose(smc.log_evidence, importance.log_evidence, rtol=1e-14)
    np.testing.assert_array_equal(smc.weighted.values["a"], importance.weighted.values["a"])
