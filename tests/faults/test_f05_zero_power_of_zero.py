"""Row 5: 0 * (-inf) is 0 in tempering: at temperature 0 the target is the prior, whatever the likelihood excludes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.stats import norm

import lawful
from lawful import factor, inference, plate, sample
from lawful.inference import Status, kernels
from lawful.inference.representations.annealing_paths import data_by_data, prior_to_posterior
from lawful.inference.representations.tempered_program import Entered, powered, times
from tests.structure.programs import primitives


def truncated(y):
    """Half of the prior has likelihood zero, by a support; a tenth more by a factor."""
    x = sample("x", dist.Normal(0.0, 1.0))
    with plate("row", 2):
        sample("y", dist.Uniform(x, x + 4.0), obs=y)
    factor("cut", jnp.where(x < -1.3, -jnp.inf, 0.0))


Y = np.array([0.0, 1.0])  # -3 <= x <= 0, and x >= -1.3: likelihood 1/16 there, else 0
INSIDE = norm.cdf(0.0) - norm.cdf(-1.3)
EVIDENCE = np.log(INSIDE / 16)
PATHS = {"prior to posterior": prior_to_posterior(), "data by data": data_by_data()}


@functools.cache
def target(path):
    form = lawful.trace(truncated, Y)
    return powered(form, path.entries(form)[0], Entered())


def density(path, x, block, power):
    point = jnp.asarray(block, jnp.int32), jnp.asarray(power, float)
    return float(target(path).log_density({"x": x}, Y, *point))


@pytest.mark.fault(5)
@pytest.mark.regression("15.7d")
@pytest.mark.parametrize("name", PATHS)
def test_f05_at_temperature_zero_the_target_is_the_prior(name):
    for x in (-2.0, -0.5, 0.7):  # excluded by the factor, possible, excluded by the support
        assert density(PATHS[name], x, 0, 0.0) == pytest.approx(float(dist.Normal(0.0, 1.0).log_prob(x)), abs=1e-14)


def test_f05_any_power_above_zero_excludes():
    """At 1e-300, and at the smallest normal number, the excluded half is excluded and the rest is untouched."""
    for power in (1e-300, 2.3e-308, 1.0):
        assert density(prior_to_posterior(), 0.7, 0, power) == -np.inf
        assert density(prior_to_posterior(), -2.0, 0, power) == -np.inf
    assert density(prior_to_posterior(), -0.5, 0, 1e-300) == pytest.approx(float(dist.Normal(0.0, 1.0).log_prob(-0.5)))


@pytest.mark.regression("15.7d")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_f05_the_product_itself(dtype):
    exponent = jnp.array([0.0, 1e-30, 1.0, 0.0, 0.0], dtype)
    term = jnp.array([-np.inf, -np.inf, -np.inf, np.inf, 3.0], dtype)
    np.testing.assert_array_equal(times(exponent, term), [0.0, -np.inf, -np.inf, 0.0, 0.0])
    slopes = jax.grad(lambda t: jnp.sum(times(exponent, t)))(term)
    np.testing.assert_array_equal(slopes, exponent)


def test_f05_at_temperature_zero_the_gradient_is_that_of_the_prior():
    point = jnp.array(0, jnp.int32), jnp.array(0.0)
    slope = jax.grad(lambda x: target(prior_to_posterior()).log_density({"x": x}, Y, *point))
    for x in (-2.0, -0.5, 0.7):
        assert float(slope(x)) == pytest.approx(-x, abs=1e-14)


RUNS = {
    "0 first": {"ladder": [0.0, 0.0, 0.5, 1.0], "steps": 3},
    "1e-300 first": {"ladder": [1e-300, 0.5, 1.0], "chains": 20},
    "adaptive": {"steps": 3},
}


@functools.cache
def plan_of(name):
    return inference.tempered_smc(truncated, particles=400, runs=12, **RUNS[name])


@pytest.mark.regression("15.7d")
@pytest.mark.rest_slow
@pytest.mark.parametrize("name", RUNS)
def test_f05_a_run_that_starts_there_gives_the_truncated_posterior(name):
    """No NaN anywhere, no particle outside, and the evidence within five standard errors."""
    result = plan_of(name)(5, Y)
    x = np.asarray(result.posterior["x"])
    assert ((x >= -1.3) & (x <= 0)).all()
    assert not np.isnan(np.asarray(result.weighted.log_weight)).any()
    assert not result.status & (Status.NONFINITE_WEIGHT | Status.DEAD)
    assert result.log_evidence_error < 0.1
    assert abs(result.log_evidence_pooled - EVIDENCE) < 5 * result.log_evidence_error
    increments = result.stats["log_evidence_increment"]
    assert not np.isnan(increments[:, 0]).any()
    if name == "0 first":
        np.testing.assert_allclose(increments[:, :2], 0.0, atol=1e-12)
        np.testing.assert_allclose(result.stats["ess"][:, :2], 400.0)
    if name == "1e-300 first":  # the likelihood is a set: the first step takes all of what it excludes
        assert result.stats["ess"][:, 0] == pytest.approx(400 * INSIDE, abs=70)


@pytest.mark.slow
def test_f05_an_adaptive_ladder_sees_only_the_living():
    """Dead particles do not slow the ladder: a likelihood that is flat where it is possible takes one stage."""
    result = plan_of("adaptive")(1, Y)
    assert result.stats["n_stages"].tolist() == [1] * 12
    assert result.stats["beta"].tolist() == [[1.0]] * 12


@pytest.mark.slow
def test_f05_a_run_that_no_particle_survives_is_dead_and_no_nan():
    result = plan_of("adaptive")(0, jnp.array([-9.0, 9.0]))
    assert np.isneginf(result.log_evidence).all()
    assert result.status & Status.DEAD
    assert (np.asarray(result.stats["dead_at"]) == 0).all()


def test_f05_moves_at_temperature_zero_walk_over_the_whole_prior():
    """A kernel at the start of the path accepts as the prior says, also from where the likelihood is zero."""
    form = target(prior_to_posterior())
    built = kernels.mh(kernels.random_walk(1.0)).build(form)
    from lawful.backends.xla import compile

    start = jnp.array(2.5), jnp.asarray(density(prior_to_posterior(), 2.5, 0, 0.0))
    run = jax.vmap(lambda key: compile(built.form)(key, Y, jnp.array(0, jnp.int32), jnp.array(0.0), *start)[0])
    value, log_density, *_ = run(jax.random.split(jax.random.key(0), 500))
    moved = np.asarray(value) != 2.5
    assert 0.5 < moved.mean() < 0.95
    np.testing.assert_allclose(log_density, dist.Normal(0.0, 1.0).log_prob(value), atol=1e-12)


def test_f05_nothing_is_called_back_for_it():
    prepared = plan_of("adaptive").prepare((Y,))
    found = primitives(jax.make_jaxpr(prepared.built.run)(jax.random.key(0), prepared.inputs))
    assert not [name for name in found if "callback" in name or name == "sort"]
