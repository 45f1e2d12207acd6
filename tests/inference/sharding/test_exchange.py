"""Particles that move in rounds between devices end where a gather of the whole population puts them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference.devices import Axis, exchanged
from lawful.inference.devices.exchange import fetched, in_rounds, is_near
from lawful.inference.devices.routing import Systematic, Within, offspring_ends
from lawful.inference.laws.resampling_schemes import Distinct
from lawful.inference.laws.resampling_schemes import scheme as scheme_named
from lawful.inference.laws.systematic_resampling import ancestors_from_ends

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


def starts_of(axis, ends):
    return jnp.concatenate([jnp.where(axis.index() > 0, axis.rotated(ends[-1:], 1), 0), ends[:-1]])


def far(axis, ends, values):
    return in_rounds(axis, starts_of(axis, ends), ends, values)


def gathered(axis, ends, values):
    """This device's slots, from the whole population."""
    size = len(ends)
    parents = ancestors_from_ends(jnp.clip(axis.gather(ends) - axis.index() * size, 0, size), size)
    return jax.tree.map(lambda x: axis.gather(x)[parents], values)


def near(devices, ends):
    """Whether it can be told from the borders, as each device says."""
    return across(devices, lambda axis, e: is_near(axis, starts_of(axis, e), e)[None], ends)


@pytest.mark.rest_slow
@pytest.mark.parametrize(("devices", "each"), [(1, 3), (2, 1), (2, 3), (3, 2), (4, 1), (5, 1), (6, 1)])
def test_every_way_to_have_offspring_is_moved_as_by_a_gather(devices, each):
    ends = every_count(devices * each)
    expected = np.array([np.repeat(np.arange(devices * each), np.diff(row, prepend=0)) for row in np.asarray(ends)])
    moves = exchanged, far, gathered
    run = jax.jit(jax.vmap(lambda e: [moved(move, devices, e) for move in moves]))
    whole, *others = run(ends)
    np.testing.assert_array_equal(whole["id"], expected)
    for found in others:
        np.testing.assert_array_equal(found["id"], expected)
        np.testing.assert_array_equal(found["x"], whole["x"])


@pytest.mark.rest_slow
@pytest.mark.parametrize(("devices", "each"), [(2, 3), (3, 2), (4, 1)])
def test_where_offspring_are_near_the_borders_tell_all(devices, each):
    ends = every_count(devices * each)
    expected = np.array([np.repeat(np.arange(devices * each), np.diff(row, prepend=0)) for row in np.asarray(ends)])
    told, found = jax.jit(jax.vmap(lambda e: (near(devices, e), moved(fetched, devices, e)["id"])))(ends)
    yes = np.asarray(told)[:, 0]
    assert (np.asarray(told) == yes[:, None]).all()  # all devices say the same
    assert 0.1 < yes.mean() < 0.95
    np.testing.assert_array_equal(np.asarray(found)[yes], expected[yes])
    assert (np.asarray(found)[~yes] != expected[~yes]).any(axis=1).all()  # and nothing that they tell is missed


@pytest.mark.slow
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
        found = (moved(move, devices, ends)["id"] for move in (exchanged, far, gathered))
        return ends, near(devices, ends)[0], *found

    ends, close, moves, rounds, whole = jax.jit(jax.vmap(both))(u, weights)
    assert 0 < np.asarray(close).mean() < 1
    assert (np.asarray(ends)[:, -1] == size).all()
    assert len(np.unique(np.asarray(whole)[:, 0])) > 5
    np.testing.assert_array_equal(moves, whole)
    np.testing.assert_array_equal(rounds, whole)


@pytest.mark.rest_slow
@pytest.mark.parametrize(("devices", "each"), [(1, 4), (2, 2), (4, 1)])
def test_every_way_to_have_offspring_is_counted_without_a_list_of_ancestors(devices, each):
    ends = every_count(devices * each)
    run = jax.vmap(lambda e: across(devices, lambda axis, own: Systematic(axis).distinct(own)[None], e))
    found = run(ends)
    expected = np.count_nonzero(np.diff(np.asarray(ends), prepend=0), axis=1)
    np.testing.assert_array_equal(found, np.repeat(expected[:, None], devices, axis=1))


@pytest.mark.rest_slow
@pytest.mark.parametrize("scheme", ["systematic", "multinomial"])
def test_ancestors_of_islands_are_counted_on_each_and_added(scheme):
    def count(axis, weights):
        route = Within(axis, scheme_named(scheme))
        drawn = route.draw(KEY, weights)
        return route.distinct(drawn)[None], route.join(drawn)[None]

    for weights in (jnp.arange(24.0) ** 4, jnp.ones(24), jnp.zeros(24), jnp.zeros(24).at[5].set(1.0)):
        found, ancestors = across(3, count, weights)
        expected = len(np.unique(ancestors))
        np.testing.assert_array_equal(found, [expected] * 3)
        assert int(Distinct(24, scheme == "systematic")(ancestors[0])) == expected
