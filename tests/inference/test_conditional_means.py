"""Conditional means: exact probabilities and means of sites that are gone, by name, whatever took them away."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.special import softmax

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference import conditional_means, enumeration

Y = jnp.array([0.1, 1.0, -1.0, 2.0])
SHARES = np.array([0.2, 0.5, 0.3])
ROWS = jnp.array([[0.2, 0.8], [0.7, 0.3]])


def mixture(y):
    mu = lawful.sample("mu", dist.Normal(jnp.array([-1.0, 0.0, 2.0]), 1.0).to_event(1))
    with lawful.plate("i", 4):
        z = lawful.sample("z", dist.Categorical(SHARES))
        lawful.sample("y", dist.Normal(mu[z], 1.0), obs=y)


@pytest.mark.parametrize(
    "sums",
    [["z"], pytest.param(inference.marginalise(["z"], method="graph"), marks=pytest.mark.slow)],
    ids=["summed", "marginalised"],
)
def test_labels_have_their_responsibilities_at_each_draw(sums):
    summed, mu = enumeration(lawful.trace(mixture, Y), sums), np.random.default_rng(0).normal(size=(1, 2, 3))
    by_hand = softmax(np.log(SHARES) - 0.5 * (np.asarray(Y)[:, None] - mu[:, :, None, :]) ** 2, axis=-1)
    np.testing.assert_allclose(conditional_means(summed, {"mu": mu}, Y)["z"], by_hand, rtol=1e-12)


def test_a_hidden_chain_of_which_nothing_stays_has_its_smoothed_probabilities():
    def chain(y):
        def step(z, y):
            z = lawful.sample("z", dist.Categorical(ROWS[z]))
            lawful.sample("y", dist.Normal(1.0 * z, 1.0), obs=y)
            return z, None

        return lawful.scan(step, 0, y)[0]

    summed, listed = enumeration(lawful.trace(chain, Y)), inference.enumerate(chain)(Y)
    last = np.tensordot(listed.probabilities, listed.support["z"], 1)
    found = conditional_means(summed, {}, Y)["z"]
    np.testing.assert_allclose(found, np.stack([1.0 - last, last], axis=1), rtol=1e-12)
    assert float(summed.marginal.log_density({}, Y)) == pytest.approx(listed.log_evidence, rel=1e-12)


def test_a_site_of_an_arm_has_probabilities_that_sum_to_that_of_the_arm():
    def arms(y):
        b = lawful.sample("b", dist.Bernoulli(0.3))
        value = lawful.cond(b == 1, lambda: 1.0 * lawful.sample("a", dist.DiscreteUniform(3, 5)), lambda: 0.0)
        lawful.sample("y", dist.Normal(value, 1.0), obs=y)

    found = conditional_means(enumeration(lawful.trace(arms, 1.0)), {}, 1.0)
    listed = inference.enumerate(arms)(1.0)
    np.testing.assert_allclose(found["b"], list(listed.marginal("b").values()), rtol=1e-12)
    np.testing.assert_allclose(found["a"], [listed.marginal("a")[k] for k in (3, 4, 5)], rtol=1e-12)


@pytest.mark.slow
def test_factors_that_are_integrated_have_their_means_and_classes_their_probabilities():
    """Y = s f + noise with f ~ N(z, 1): given s, f is normal for each class, and the classes have normal evidence."""

    def factors(y):
        s = lawful.sample("s", dist.HalfNormal(1.0))
        with lawful.plate("i", 4):
            z = lawful.sample("z", dist.Bernoulli(0.3))
            f = lawful.sample("f", dist.Normal(1.0 * z, 1.0))
            lawful.sample("y", dist.Normal(s * f, 1.0), obs=y)

    away = inference.noncentred(["f"]) >> inference.integrate_normals(["f"]) >> inference.marginalise(["z"])
    s = np.array([[0.5, 2.0]])
    found = conditional_means(enumeration(lawful.trace(factors, Y), away), {"s": s}, Y)
    s, y = s[:, :, None, None], np.asarray(Y)[:, None]
    classes = np.arange(2)
    by_class = softmax(np.log([0.7, 0.3]) - 0.5 * (y - s * classes) ** 2 / (1 + s**2), axis=-1)
    means = (classes + s * y) / (1 + s**2)
    np.testing.assert_allclose(found["z"], by_class, rtol=1e-11)
    np.testing.assert_allclose(found["f"], (by_class * means).sum(axis=-1), rtol=1e-11)


def test_a_single_number_has_its_mean():
    def level(y):
        lawful.sample("y", dist.Normal(lawful.sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=y)

    found = conditional_means(enumeration(lawful.trace(level, 1.5), inference.integrate_normals(["x"])), {}, 1.5)
    assert found["x"].shape == () and float(found["x"]) == pytest.approx(0.75, rel=1e-12)


def test_where_everything_is_integrated_importance_points_to_what_can_answer():
    def factors(y):
        with lawful.plate("i", 4):
            f = lawful.sample("f", dist.Normal(0.0, 1.5))
            lawful.sample("y", dist.Normal(2.0 * f + 1.0, 1.0), obs=y)

    away = inference.integrate_normals(["f"])
    with pytest.raises(LawfulError, match=r"no site is left.*Fix: found = inference\.enumeration\(.*conditional_means"):
        inference.importance(factors, particles=10, enumerate=away)(jax.random.key(0), Y)
    found = enumeration(lawful.trace(factors, Y), away)
    variance = 1.0 + 4.0 * 1.5**2
    evidence = dist.Normal(1.0, np.sqrt(variance)).log_prob(Y).sum()
    assert float(found.marginal.log_density({}, Y)) == pytest.approx(float(evidence), rel=1e-12)
    np.testing.assert_allclose(conditional_means(found, {}, Y)["f"], 2 * 1.5**2 / variance * (Y - 1.0), rtol=1e-12)
    assert np.isfinite(inference.recover(found, {}, jax.random.key(0), Y)["f"]).all()
