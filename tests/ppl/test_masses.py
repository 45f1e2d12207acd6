"""Integer masses: exact sums, exact location, and the shape of faults."""

import itertools

import jax
import numpy as np
import pytest

from lawful.distributions.sampling import integer_weights
from lawful.distributions.sampling.integer_weights import shares
from lawful.distributions.sampling.uint64 import Wide

cumulative, find = jax.jit(integer_weights.cumulative), jax.jit(integer_weights.find)
integer_masses, running_sum = jax.jit(integer_weights.integer_masses), jax.jit(integer_weights.running_sum)
WORD = 1 << 32
SIZES = [1, 2, 3, 31, 32, 33, 64, 65, 511, 512, 513, 2000, 2051]


def integers(a):
    return [int(h) * WORD + int(w) for h, w in zip(np.asarray(a.high), np.asarray(a.low), strict=True)]


def weights_of(n, dtype):
    rng = np.random.default_rng(n)
    weights = rng.lognormal(0, 4, size=n) * (rng.random(n) < 0.7)
    weights[rng.integers(n)] = 1.0
    return weights.astype(dtype)


@pytest.mark.parametrize("n", SIZES)
def test_running_sums_of_integers_are_exact_modulo_their_width(n):
    values = np.random.default_rng(n).integers(0, WORD, n, dtype=np.uint32)
    np.testing.assert_array_equal(running_sum(values), np.cumsum(values, dtype=np.uint32))


@pytest.mark.parametrize("n", SIZES)
def test_running_sums_of_floats_agree_to_rounding(n):
    values = np.random.default_rng(n).normal(size=n)
    np.testing.assert_allclose(running_sum(values), np.cumsum(values), rtol=0, atol=1e-11)


@pytest.mark.rest_slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", SIZES)
def test_masses_are_the_weights_to_2_to_the_minus_58_and_their_sums_are_exact(n, dtype):
    weights = weights_of(n, dtype)
    masses = integer_masses(weights)
    found = integers(masses)
    assert integers(cumulative(masses)) == list(itertools.accumulate(found))
    assert 2**58 - n <= sum(found) <= 2**59
    exact = weights.astype(np.longdouble) / weights.astype(np.longdouble).sum()
    error = np.abs(np.array(found, np.longdouble) / sum(found) - exact)
    assert (error <= 1e-15 * exact + (n + 1) * 2.0**-58).all()
    np.testing.assert_allclose(shares(masses, dtype), exact.astype(float), rtol=1e-6, atol=1e-15)


@pytest.mark.rest_slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", SIZES)
def test_an_item_is_found_exactly_on_its_part_of_the_sums(n, dtype):
    weights = weights_of(n, dtype)
    sums = cumulative(integer_masses(weights))
    edges = np.array(integers(sums), dtype=object)
    rng = np.random.default_rng(n)
    high, low = (rng.integers(0, WORD, 300, dtype=np.uint32) for _ in range(2))
    high[:2], low[:2] = (0, WORD - 1), (0, WORD - 1)
    found = find(sums, Wide(high, low))
    targets = [edges[-1] * (int(h) * WORD + int(w)) // WORD**2 for h, w in zip(high, low, strict=True)]
    np.testing.assert_array_equal(found, [int(np.argmax(edges > t)) for t in targets])
    assert (weights[np.asarray(found)] > 0).all()


@pytest.mark.parametrize("bad", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_weights_without_a_finite_positive_sum_have_no_mass(bad):
    assert integers(integer_masses(np.asarray(bad))) == [0, 0]


@pytest.mark.parametrize("scale", [2.0**-110, 2.0**-30, 2.0**100])
def test_masses_do_not_depend_on_a_scale_of_a_power_of_two(scale):
    weights = weights_of(50, np.float32)
    weights = np.where(weights > 1e-3, weights, 0).astype(np.float32)  # nothing underflows at the smallest scale
    one, other = integer_masses(weights), integer_masses(weights * np.float32(scale))
    assert integers(one) == integers(other)
