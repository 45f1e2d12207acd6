"""Derivatives: of the evidence, posterior expectations; of messages, those of the table; finite at hard zeros."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from lawful.inference.graphs import counts
from lawful.inference.graphs.counts import potentials
from tests.inference.numerics.counts import exact
from tests.inference.numerics.counts.cases import bags, marginals


def test_the_slope_of_the_evidence_is_a_posterior_expectation():
    h, g = bags(5)
    with_h, with_g = (np.asarray(x) for x in jax.grad(finite_sum, (0, 1))(jnp.asarray(h), jnp.asarray(g)))
    for row in range(len(h)):
        y, p = exact.posterior(h[row], g[row])
        before = np.exp(exact.log_sigma(h[row])) * (p.sum() > 0)
        assert_allclose(with_h[row], p @ y - before, atol=1e-11)
        assert_allclose(with_g[row], np.bincount(y.sum(1), p, minlength=6), atol=1e-11)


def finite_sum(h, g):
    """Impossible bags have -inf, whose slope is nothing."""
    log_z = counts.log_evidence(h, g)
    return jnp.sum(jnp.where(log_z > -jnp.inf, log_z, 0))


def test_the_unnormalised_slope_is_the_posterior():
    h, g = jnp.asarray([0.3, -1.0, 2.0]), potentials.hard_count(1, 3)
    slope = jax.grad(lambda h: counts.log_evidence(h, g, normalised=False))(h)
    assert_allclose(slope, marginals(h, g), atol=1e-12)


@pytest.mark.slow
def test_messages_have_the_derivatives_of_the_table():
    """The slope of out_i in h_j is P(y_j | y_i = 1) - P(y_j | y_i = 0), and likewise for the counts."""
    rng = np.random.default_rng(0)
    h, g = rng.normal(size=5), np.array([0.5, -np.inf, 0.1, -0.3, 1.0, -np.inf])
    h[4] = -np.inf
    by_h, by_g = jax.jacrev(counts.messages, (0, 1))(jnp.asarray(h), jnp.asarray(g))
    forward = jax.jacfwd(counts.messages)(jnp.asarray(h), jnp.asarray(g))
    for i in range(4):
        (y, one), (_, zero) = (exact.posterior(np.where(np.arange(5) == i, v, h), g) for v in (np.inf, -np.inf))
        expected = (one - zero) @ y * (np.arange(5) != i) * np.isfinite(h)
        assert_allclose(by_h[i], expected, atol=1e-11)
        assert_allclose(forward[i], expected, atol=1e-11)
        assert_allclose(by_g[i], np.bincount(y.sum(1), one - zero, minlength=6), atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["tree", "log"])
def test_derivatives_are_finite_at_hard_zeros(method):
    h, g = (jnp.asarray(x) for x in bags(3))

    def total(h, g):
        solved = counts.solve(h, g, method=method)
        told = jnp.where(jnp.isfinite(solved.messages), solved.messages, 0)
        return jnp.sum(told) + jnp.sum(jnp.where(solved.log_evidence > -jnp.inf, solved.log_evidence, 0))

    by_h, by_g = jax.grad(total, (0, 1))(h, g)
    assert np.isfinite(by_h).all() and np.isfinite(by_g).all()


@pytest.mark.slow
def test_second_derivatives_are_covariances():
    h, g = jnp.asarray([0.3, -1.0, 2.0, 0.1]), potentials.soft_count(1.0, 0.7, 4)
    curvature = jax.jacfwd(jax.grad(lambda h: counts.log_evidence(h, g, normalised=False)))(h)
    y, p = exact.posterior(np.asarray(h), np.asarray(g))
    assert_allclose(curvature, np.cov(y.T, aweights=p, ddof=0), atol=1e-10)


@pytest.mark.slow
def test_the_variance_rule_has_the_derivatives_of_the_exact_method():
    h = jnp.asarray(np.random.default_rng(3).normal(size=60))
    g = potentials.hard_count(25, 60)

    def some(h, method):
        return counts.messages(h, g, method=method)[:2]

    exactly, nearly = (jax.jacrev(lambda h: some(h, m))(h) for m in ("tree", "asymptotic"))
    assert 0 < exact.error(nearly, exactly) < 1e-3


def test_the_count_law_has_derivatives():
    h = jnp.asarray([0.3, -jnp.inf, 1.0])
    slope = jax.jacrev(counts.count_law)(h)
    p = 1 / (1 + np.exp(-np.array([0.3, 1.0])))
    assert_allclose(slope[0, [0, 2]], -p, atol=1e-12)
    assert np.isfinite(slope).all()
