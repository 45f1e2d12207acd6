"""The floor of W2 obeys the law of the library, or its times would mean nothing; and ours is the program of W2."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import models, workloads
from benchmarks.contestants.w2 import floor
from benchmarks.harness.catalogue import WORKLOADS
from lawful import trace

pytestmark = pytest.mark.usefixtures("single_precision")  # the floor is a float32 program
PARTICLES = {None: 400, 40: 4000}  # chains of 20 steps hardly move in 20 dimensions


def signed():
    covariates, labels = workloads.regression()
    return jnp.asarray(covariates.T * (1 - 2 * labels), jnp.float32)


def test_one_logarithm_for_eight_factors_is_the_plain_likelihood():
    x = jax.random.normal(jax.random.key(0), (50, workloads.PREDICTORS))
    np.testing.assert_allclose(jax.jit(floor.product)(x, signed()), jax.jit(floor.plain)(x, signed()), rtol=2e-6)


def test_our_program_has_the_density_of_the_floor():
    covariates, labels = workloads.regression()
    data = jnp.asarray(covariates, jnp.float32), jnp.asarray(labels)
    form = trace(models.logistic, *data)
    for x in jax.random.normal(jax.random.key(1), (3, workloads.PREDICTORS)):
        prior = -0.5 * float(x @ x) - 0.5 * workloads.LOG_TWO_PI * len(x)
        wanted = prior + float(floor.plain(x[None], signed())[0])
        np.testing.assert_allclose(form.log_density({"coefficients": x}, *data), wanted, rtol=2e-6)


def test_the_increase_leaves_half_of_the_effective_size():
    likelihood = -30 * jax.random.gamma(jax.random.key(2), 0.5, (1000,))
    increase = floor.next_increase(likelihood, jnp.float32(1))
    weight = np.exp(np.float64(increase) * np.asarray(likelihood, np.float64))
    assert weight.sum() ** 2 / (weight**2).sum() == pytest.approx(500, abs=0.5)
    assert float(floor.next_increase(jnp.zeros(10), jnp.float32(0.25))) == 0.25


@pytest.mark.parametrize("m", [1, 7, 100])
def test_few_ancestors_are_within_one_of_their_share(m):
    weight = np.random.default_rng(20265).gamma(0.5, size=1000).astype(np.float32)
    for u in (0.0, 0.37, 0.999):
        index = np.asarray(floor.ancestors_of(jnp.asarray(weight), jnp.float32(u), m))
        offspring = np.bincount(np.clip(index, 0, 999), minlength=1000)
        assert np.abs(offspring - m * weight / weight.sum()).max() < 1.01
        assert len(index) == m


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"steps": 5, "chains": None}, {"steps": None, "chains": 40}])
def test_the_floor_reaches_the_posterior(settings):
    """One run each: log evidence within 8 (spread about 2), means within a posterior sd on average."""
    out = jax.jit(floor.tempered_program(PARTICLES[settings["chains"]], **settings))(jax.random.key(3), signed())
    exact = workloads.exact_answers("logistic")
    assert abs(float(out["log_evidence"]) - exact["log_evidence"]) < 8
    assert 14 <= int(out["temperatures"]) <= 20
    errors = [(float(out[f"mean_{i}"]) - exact[f"mean_{i}"]) / workloads.REGRESSION_SCALE[i] for i in range(20)]
    assert np.sqrt(np.mean(np.square(errors))) < 1.0


def test_every_variant_of_w2_names_its_outputs():
    for variant in WORKLOADS["W2"].variants:
        assert set(variant.scales()) | {"log_evidence"} == set(variant.exact())
