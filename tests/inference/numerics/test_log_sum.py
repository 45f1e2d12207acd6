"""The log of a sum of exponentials: its value and derivatives by hand, and what infinities give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from lawful.inference.laws.log_sum import log_sum

inf, nan = np.inf, np.nan


@pytest.mark.rest_slow
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("level", [0.0, 700.0, -1e6])
def test_value_gradient_and_curvature_are_those_of_the_softmax(axis, level):
    terms = jnp.asarray(np.random.default_rng(7).normal(scale=5.0, size=(3, 4, 2)) + level)
    np.testing.assert_allclose(log_sum(terms, axis), scipy.special.logsumexp(terms, axis=axis), rtol=1e-13)
    shares = scipy.special.softmax(terms, axis=axis)
    np.testing.assert_allclose(jax.jit(jax.grad(lambda x: log_sum(x, axis).sum()))(terms), shares, atol=1e-12)
    for line in (terms[:, 0, 0], terms[:1, 0, 0], jnp.array([level, level - 1000.0, -inf])):
        shares = scipy.special.softmax(line)
        np.testing.assert_allclose(
            jax.jit(jax.hessian(log_sum))(line), np.diag(shares) - np.outer(shares, shares), atol=1e-12
        )


@pytest.mark.parametrize("terms, value, gradient", [
    ([-inf, -inf], -inf, [0.0, 0.0]), ([-inf, 2.0], 2.0, [0.0, 1.0]), ([], -inf, []),
    ([inf, 0.0], inf, None), ([nan, 0.0], nan, None), ([inf, nan], nan, None),
])  # fmt: skip
def test_infinities_give_their_limits_and_nan_stays(terms, value, gradient):
    terms = jnp.array(terms, float)
    np.testing.assert_array_equal(log_sum(terms), value)
    if gradient is not None:
        np.testing.assert_array_equal(jax.grad(log_sum)(terms), gradient)


def test_single_precision_keeps_the_shares_of_large_terms():
    terms = np.float32([1e6, 1e6 + 1.0, 1e6 - 2.0])
    found = jax.grad(log_sum)(jnp.asarray(terms, jnp.float32))
    np.testing.assert_allclose(found, scipy.special.softmax(terms.astype(float)), rtol=1e-6)
