"""Particles that move in rounds between devices end where a gather of the whole population puts them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference.sharding import Axis, exchanged, gathered
from lawful.inference.sharding.offspring import offspring_ends

KEY = jax.random.key(20261)


def across(devices, function, *parts):
    """Run a function of a device's parts on `devices` devices, which `jax.vmap` stands for."""
    axis = Axis("p", devices)
    split = [x.reshape((devices, -1, *x.shape[1:])) for x in parts]
    joined = jax.jit(jax.vmap(lambda *own: function(axis, *own), axis_name="p"))(*split)
    return jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:])), joined)


def moved(move, devices, ends):
    """Where each slot's particle came from, and a copied value of it."""
    ids = jnp.arange(len(ends), dtype=jnp.int32)
    return across(devices, lambda axis, e, i: move(axis, e, {"id": i, "x": jnp.stack([i * 0.1, -i], -1)}), ends, ids)


def every_count(particles):
    """The running counts of all ways in which so many particles can have so many offspring."""
    bars = itertools.combinations(range(2 * particles - 1), particles - 1)
    ends = [[b - i for i, b in enumerate(row)] + [particles] for row in bars]
    return jnp.array(ends, jnp.int32)


@pytest.mark.rest_slow
@pytest.mark.parametrize(("devices", "each"), [(1, 3), (2, 1), (2, 3), (3, 2), (4, 1), (5, 1), (6, 1)])
def test_every_way_to_have_offspring_is_moved_as_by_a_gather(devices, each):
    ends = every_count(devices * each)
    expected = np.array([np.repeat(np.arange(devices * each), np.diff(row, prepend=0)) for row in np.asarray(ends)])
    run = jax.jit(jax.vmap(lambda e: (moved(exchanged, devices, e), moved(gathered, devices, e))))
    rounds, whole = run(ends)
    np.testing.assert_array_equal(rounds["id"], expected)
    np.testing.assert_array_equal(whole["id"], expected)
    np.testing.assert_array_equal(rounds["x"], whole["x"])


@pytest.mark.parametrize(("devices", "each"), [(4, 8), (8, 16)])
def test_populations_of_any_unevenness_move_the_same(devices, each):
    size = devices * each
    spread = jnp.concatenate([jnp.linspace(0.0, 30.0, 40)] * 2)
    normals = jax.random.normal(KEY, (80, size))
    ramps = jnp.concatenate([jnp.zeros((40, size)), jnp.tile(jnp.linspace(-20.0, 20.0, size), (40, 1))])
    weights = jnp.exp(jnp.where(normals > 2.5, -jnp.inf, spread[:, None] * normals / 3 + ramps))
    u = jax.random.bits(jax.random.key(7), (80,), jnp.uint64)

    def both(u, w):
        ends = across(devices, lambda axis, w: offspring_ends(axis, u, w), w)
        return ends, moved(exchanged, devices, ends)["id"], moved(gathered, devices, ends)["id"]

    ends, rounds, whole = jax.jit(jax.vmap(both))(u, weights)
    assert (np.asarray(ends)[:, -1] == size).all()
    assert len(np.unique(np.asarray(whole)[:, 0])) > 5
    np.testing.assert_array_equal(rounds, whole)
