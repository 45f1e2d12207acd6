"""Row 29: the evidence of a million steps adds up to 1e-6 of itself in float32, and so does a density.

Added up as they come, a million terms of -0.1 are off by 1e-2 in float32, and small terms beside large ones are lost.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import factor, inference, sample, scan
from lawful.backends.xla import compile
from lawful.form.operations.compensated_sum import over_steps
from lawful.passes.add_plate import gained
from tests.tiers import rest_slow

pytestmark = pytest.mark.usefixtures("single_precision")
INCREMENTS = {
    "constant": lambda n: np.full(n, -0.1, np.float32),
    "alternating": lambda n: np.where(np.arange(n) % 2, -0.01, -100.0).astype(np.float32),
    "cancelling": lambda n: np.tile(np.float32([1000.0, -1000.1, 0.05, -0.07]), n // 4),
}


def weighed(increments):
    """A factor at each step that differs from particle to particle by type alone, so that each carries its own sum."""

    def step(x, increment):
        x = sample("x", dist.Uniform(0.0, 1.0))
        factor("weight", increment * jnp.where(x < 2.0, 1.0, 0.0))
        return x, None

    return scan(step, 0.0, increments)[0]


def fixed(increments):
    scan(lambda c, w: (c, factor("weight", w)), 0.0, increments)


def form(increments):
    """The weight of a run of the program itself."""
    return compile(lawful.trace(fixed, increments))(jax.random.key(0), increments)[1]


PLANS = {build: build(weighed, particles=2, keep="last") for build in (inference.importance, inference.smc)}


def importance(increments):
    return PLANS[inference.importance](0, increments).log_evidence[0]


def smc(increments):
    return PLANS[inference.smc](0, increments).log_evidence[0]


def density(increments):
    """What chains move on."""
    x = jnp.full(len(increments), 0.5)
    return lawful.trace(weighed, increments).log_density({"x": x}, increments)


SIZES = {form: 10**6, density: 10**6, importance: 10**5, smc: 2 * 10**4}


@pytest.mark.rest_slow
@pytest.mark.fault(29)
@pytest.mark.parametrize("kind", INCREMENTS)
@pytest.mark.parametrize("method", [form, density, importance], ids=lambda m: m.__name__)
def test_f29_the_evidence_of_many_steps_does_not_drift(method, kind):
    increments = INCREMENTS[kind](SIZES[method])
    exact = increments.astype(np.float64).sum()
    assert abs(float(method(jnp.asarray(increments))) / exact - 1) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("kind", rest_slow(["cancelling", "constant", "alternating"]))
def test_f29_nor_does_that_of_steps_between_which_particles_are_drawn_anew(kind):
    test_f29_the_evidence_of_many_steps_does_not_drift(smc, kind)


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("kind", INCREMENTS)
@pytest.mark.parametrize("method", [importance, smc], ids=lambda m: m.__name__)
def test_f29_nor_does_that_of_a_million(method, kind):
    increments = INCREMENTS[kind](10**6)
    exact = increments.astype(np.float64).sum()
    assert abs(float(method(jnp.asarray(increments))) / exact - 1) < 1e-6


def test_f29_a_plain_sum_would_drift():
    """What the tests above would find."""
    terms = INCREMENTS["constant"](10**5)
    plain = jax.lax.scan(lambda total, term: (total + term, None), jnp.float32(0.0), jnp.asarray(terms))[0]
    assert abs(float(plain) / terms.astype(np.float64).sum() - 1) > 1e-5


def test_f29_what_rounding_loses_is_kept_and_an_impossible_step_stays_impossible():
    total, lost = gained(jnp.float32(2.0**24), jnp.float32(0.0), jnp.float32(1.0))
    assert float(total) + float(lost) == 2.0**24 + 1
    assert [float(x) for x in gained(jnp.float32(-5.0), jnp.float32(1e-8), -jnp.float32(jnp.inf))][0] == -np.inf
    dead = np.full(100, -0.1, np.float32)
    dead[50] = -np.inf
    assert importance(jnp.asarray(dead)) == -np.inf


@pytest.mark.slow
def test_f29_the_derivative_of_a_long_sum_is_one_for_each_term():
    terms = jnp.linspace(-1.0, 1.0, 1001)
    np.testing.assert_array_equal(jax.grad(over_steps)(terms), 1.0)
    lanes = jnp.stack([terms, 2 * terms + 1])
    np.testing.assert_array_equal(jax.vmap(over_steps)(lanes), [over_steps(lane) for lane in lanes])
    assert over_steps(terms.at[7].set(-jnp.inf)) == -jnp.inf
