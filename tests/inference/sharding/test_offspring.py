"""Offspring across devices: those of one device, whatever the number of devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference.devices import exchanged
from lawful.inference.devices.routing import ancestors, draw_ends, offspring_ends
from lawful.inference.laws.systematic_resampling import enumerate_systematic, push_systematic
from tests.inference.sharding.test_exchange import across

KEY = jax.random.key(11)


def counts(devices, u, weights):
    return across(devices, lambda axis, w: offspring_ends(axis, u, w), weights)


def weights_of(size, dtype=jnp.float64):
    x = jax.random.normal(KEY, (size,), dtype)
    return jnp.where(x > 1.5, 0, jnp.exp(3 * x)).astype(dtype)


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize("devices", [2, 3])
def test_every_cell_of_the_uniform_gives_the_ancestors_of_one_device(devices):
    """The law of one device is enumerated elsewhere; the cells are its own, so E[offspring] = N w / sum(w), too."""
    cases = np.array([[1, 2, 0, 4, 1, 1], [0, 0, 5, 0, 0, 0], [3, 3, 3, 3, 3, 3], [0, 1, 7, 0, 2, 9.5]])
    cells = jax.jit(lambda weights: enumerate_systematic(weights, 6))
    drawn = jax.jit(
        jax.vmap(
            lambda u, weights: across(devices, lambda axis, w: ancestors(axis, offspring_ends(axis, u, w)), weights),
            (0, None),
        )
    )
    for weights in cases:
        here, log_masses = cells(weights)
        masses = np.exp(np.asarray(log_masses))
        starts = np.cumsum(masses) - masses
        there = np.asarray(drawn(starts + masses / 2, weights)).reshape(len(masses), devices, 6)[masses > 0]
        np.testing.assert_array_equal(there, np.repeat(np.asarray(here)[masses > 0][:, None], devices, axis=1))
        shares = np.stack([(there[:, 0] == i).sum(axis=1) for i in range(6)], axis=1)
        mean = masses[masses > 0] @ shares
        np.testing.assert_allclose(mean, 6 * weights / weights.sum(), rtol=0, atol=1e-12)


@pytest.mark.rest_slow
@pytest.mark.parametrize("u", [0.0, 0.25, 0.6180339887])
def test_the_number_of_devices_changes_no_count(u):
    weights = weights_of(960)
    one = np.asarray(counts(1, jnp.asarray(u), weights))
    for devices in (2, 3, 4, 5, 8):
        np.testing.assert_array_equal(counts(devices, jnp.asarray(u), weights), one)
    points = np.cumsum(np.asarray(weights)) / float(weights.sum()) * 960
    by_numpy = np.clip(np.ceil(points - u), 0, 960)
    assert (one == by_numpy).mean() > 0.99 or u == 0.0  # a point that falls on a sum, to rounding, may go either way
    assert np.abs(one - by_numpy).max() <= 1


def test_single_precision_counts_above_one_word_are_exact_to_one(single_precision):
    size = (1 << 17) + 960 * 8
    weights = weights_of(size, jnp.float32)
    u = jnp.asarray(0.3, jnp.float32)
    four = np.asarray(counts(4, u, weights))
    assert weights.dtype == jnp.float32 and four[-1] == size
    np.testing.assert_array_equal(four, counts(1, u, weights))
    exact = np.cumsum(np.asarray(weights, np.float64))
    exact = exact / exact[-1] * size
    offspring = np.diff(four, prepend=0)
    assert np.abs(offspring - np.diff(exact, prepend=0)).max() < 1.001
    assert (offspring[np.asarray(weights) == 0] == 0).all()


@pytest.mark.slow
def test_equal_weights_move_nobody_nor_does_a_dead_population():
    x = jnp.arange(16.0)
    for weight in (2.0, 0.0):
        kept = across(4, lambda axis, w, x: exchanged(axis, draw_ends(axis, KEY, w), x), jnp.full(16, weight), x)
        np.testing.assert_array_equal(kept, x)


def test_one_device_draws_what_the_scheme_of_one_array_does():
    weights = weights_of(64)
    u = jnp.asarray(0.37)
    ends = np.asarray(counts(4, u, weights))
    drawn = jax.jit(lambda u, weights: push_systematic(u, weights, 64))(u, weights)
    np.testing.assert_array_equal(np.repeat(np.arange(64), np.diff(ends, prepend=0)), drawn)
