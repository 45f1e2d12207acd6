"""A sum in float32 is right to a rounding of itself and 1e-12 of the sizes of its terms, however many there are."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.form.operations.compensated_sum import BLOCK, compensated_sum

ROUNDING, LOST = 2.0**-24, 1e-12
TERMS = {
    "constant": lambda n: np.full(n, 0.1),
    "ramp": lambda n: np.linspace(0.0, 1.0, n),
    "positive": lambda n: np.random.default_rng(1).exponential(size=n),
    "far from zero": lambda n: np.random.default_rng(2).normal(size=n) - 100.0,
    "cancelling": lambda n: np.resize([1000.0, -1000.1, 0.05, -0.07], n),
}


@pytest.mark.parametrize("n", [1, 2, 499, BLOCK, BLOCK + 1, 10**5, 3 * 10**6])
@pytest.mark.parametrize("kind", TERMS)
def test_a_sum_is_right_to_a_rounding_of_itself(kind, n):
    terms = TERMS[kind](n).astype(np.float32)
    exact = math.fsum(terms.astype(np.float64))
    error = abs(float(compensated_sum(jnp.asarray(terms))) - exact)
    assert error <= ROUNDING * abs(exact) + LOST * np.abs(terms.astype(np.float64)).sum()


@pytest.mark.parametrize("terms", [[1.0, -np.inf, 2.0], [3e38, 3e38, -3e38], [np.inf, -np.inf, 1.0], [1.0, np.nan]])
def test_infinite_totals_stay_infinite_and_undefined_ones_undefined(terms):
    padded = jnp.concatenate([jnp.float32(terms), jnp.zeros(3 * BLOCK, jnp.float32)])
    plain = np.float32(0.0)
    with np.errstate(all="ignore"):
        for term in np.float32(terms):
            plain = plain + term
    np.testing.assert_array_equal(compensated_sum(padded), plain)


def test_its_derivative_by_each_term_is_one_and_each_row_of_a_batch_is_its_own_sum():
    rows = jnp.asarray(np.random.default_rng(3).normal(size=(3, 2 * BLOCK + 5)), jnp.float32)
    np.testing.assert_array_equal(jax.vmap(compensated_sum)(rows), [compensated_sum(row) for row in rows])
    np.testing.assert_array_equal(jax.grad(compensated_sum)(rows[0]), np.ones(rows.shape[1], np.float32))
