"""The product of eight Bernoulli factors under one logarithm is the sum of their log densities, for every value."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful.distributions.densities import bernoulli_logits_total
from lawful.distributions.families import core_of, family_of, log_prob
from lawful.distributions.law import law_of
from lawful.distributions.softplus import GROUP, LANES, exp_minus, softplus
from tests.structure.programs import equations


def softplus_sum(logits, value):
    """The same in NumPy, term by term."""
    z = np.where(np.asarray(value) == 1, -np.asarray(logits), np.asarray(logits))
    return -np.logaddexp(0.0, z.astype(np.float64)).sum()


@pytest.mark.rest_slow
@pytest.mark.parametrize("size", [1, 7, 8, 9, 40])
@pytest.mark.parametrize("scale", [0.1, 3.0, 60.0])
def test_the_product_is_the_sum_of_log_densities(size, scale):
    rng = np.random.default_rng(size)
    logits, value = rng.normal(scale=scale, size=size), rng.integers(0, 2, size)
    total = bernoulli_logits_total(dist.Bernoulli(logits=jnp.asarray(logits)), jnp.asarray(value))
    np.testing.assert_allclose(total, softplus_sum(logits, value), rtol=1e-13, atol=1e-300)


@jax.jit
def total_of(logits, value):
    return bernoulli_logits_total(dist.Bernoulli(logits=logits), value)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0, 80.0])
def test_single_precision_loses_nothing(scale):
    """Small terms are carried as product - 1: the error is relative, also where all labels are predicted well."""
    logits = np.float32(scale) * np.random.default_rng(0).normal(size=1000).astype(np.float32)
    for value in ((logits > 0).astype(np.int32), (logits < 0).astype(np.int32)):
        total = total_of(logits, value)
        assert total.dtype == jnp.float32
        np.testing.assert_allclose(total, softplus_sum(logits, value), rtol=3e-6)


def test_the_short_exponential_is_right_to_rounding():
    """Of 1 below 1, of the argument above: what rounding the argument loses itself. jnp.exp reaches 0.8e-7."""
    x = np.linspace(0.0, 87.0, 500_001).astype(np.float32)
    exact = np.exp(-x.astype(np.float64))
    error = np.abs(np.asarray(jax.jit(exp_minus)(x), np.float64) - exact)
    assert error.max() < 1e-7 and (error / exact / np.maximum(x, 1)).max() < 1.2e-7
    ends = jax.jit(exp_minus)(jnp.array([0.0, 88.5, 1e30, np.inf, np.nan], jnp.float32))
    np.testing.assert_array_equal(ends, np.array([1.0, 0.0, 0.0, 0.0, np.nan], np.float32))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_single_terms_are_right_to_rounding(dtype):
    logits = jnp.concatenate([jnp.linspace(-90, 90, 2001), jnp.array([0.0, 1e-30, 1e30])]).astype(dtype)
    for value in (0, 1):
        terms = log_prob(dist.Bernoulli(logits=logits), jnp.full(logits.shape, value))
        exact = -np.logaddexp(0.0, (1 - 2 * value) * np.asarray(logits, np.float64))
        assert terms.dtype == dtype
        rounding = 3 * float(jnp.finfo(dtype).eps) * np.maximum(np.abs(logits), 1)  # of the argument
        assert (np.abs(terms - exact) <= rounding * np.abs(exact) + 2e-38).all()


def test_single_terms_have_their_derivatives_of_first_and_second_order():
    eta = jnp.linspace(-30.0, 30.0, 41)
    np.testing.assert_allclose(jax.vmap(jax.grad(softplus))(eta), jax.nn.sigmoid(eta), rtol=1e-14)
    curvature = jax.vmap(jax.grad(jax.grad(softplus)))(eta)
    np.testing.assert_allclose(curvature, jax.nn.sigmoid(eta) * jax.nn.sigmoid(-eta), atol=1e-15)


def test_infinite_log_odds_are_certain():
    logits = jnp.array([jnp.inf, -jnp.inf] * 8)
    certain, wrong = jnp.array([1, 0] * 8), jnp.array([1, 1] * 8)
    assert float(bernoulli_logits_total(dist.Bernoulli(logits=logits, validate_args=False), certain)) == 0.0
    assert float(bernoulli_logits_total(dist.Bernoulli(logits=logits, validate_args=False), wrong)) == -np.inf
    unknown = dist.Bernoulli(logits=logits.at[3].set(jnp.nan), validate_args=False)
    assert np.isnan(float(bernoulli_logits_total(unknown, certain)))


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    "site",
    [
        dist.Bernoulli(logits=jnp.linspace(-2, 2, 21)),
        dist.Bernoulli(logits=jnp.linspace(-2, 2, 21)).to_event(1),
        dist.Bernoulli(logits=jnp.array(0.7)).expand([3, 7]),
        dist.Bernoulli(logits=jnp.linspace(-2, 2, 7)).expand([3, 7]).to_event(2),
    ],
    ids=["batch", "event", "expanded", "expanded event"],
)
def test_every_shape_of_site_has_the_density_of_its_elements(site):
    value = site.sample(jax.random.key(0))
    law, parameters = law_of(site)
    assert family_of(core_of(site)).total is not None
    np.testing.assert_allclose(law.log_prob(value, *parameters), site.log_prob(value).sum(), rtol=1e-13)
    outside = value.at[(0,) * value.ndim].set(2)
    assert float(law.log_prob(outside, *parameters)) == -np.inf


def test_gradients_are_those_of_the_log_densities():
    value = jnp.arange(40) % 2

    for eta in (jnp.linspace(-30.0, 30.0, 40), jnp.zeros(40)):
        np.testing.assert_allclose(jax.jit(jax.grad(total_of))(eta, value), value - jax.nn.sigmoid(eta), atol=1e-12)


@pytest.mark.parametrize("rows", [64, 1000, 1003])
def test_the_program_takes_one_logarithm_for_eight_observations(rows):
    """Of full registers: 1000 rows are 7 slices of 128 and one of 104, no slice has a rest."""

    def model(x, y):
        b = lawful.sample("b", dist.Normal(jnp.zeros(3), 1.0).to_event(1))
        with lawful.plate("row", rows):
            lawful.sample("y", dist.Bernoulli(logits=x @ b), obs=y)

    x, y = jnp.ones((rows, 3)), jnp.zeros(rows, jnp.int32)
    form = lawful.trace(model, x, y)
    traced = jax.make_jaxpr(lambda b: form.log_density({"b": b}, x, y))(jnp.zeros(3))
    logs = [e.outvars[0].aval.size for e in equations(traced) if e.primitive.name in ("log", "log1p")]
    assert sum(logs) - 1 == LANES * -(-rows // (GROUP * LANES))  # one is that of the prior
