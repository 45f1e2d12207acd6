"""What a scheme compiles to, and that it can serve as a static value: hashable, equal by name, portable."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference.laws.resampling_schemes import SCHEMES
from lawful.inference.laws.systematic_resampling import ancestors_from_ends, stratified, systematic
from tests.structure.programs import equations
from tests.tiers import rest_slow

NAMES = sorted(SCHEMES)


def primitives(jaxpr):
    return (equation.primitive.name for equation in equations(jaxpr))


def program(scheme, n, m):
    return jax.make_jaxpr(scheme.draw, static_argnums=2)(jax.random.key(0), jnp.ones(n, jnp.float32), m)


@pytest.mark.parametrize("name", NAMES)
def test_no_draw_sorts_and_none_makes_a_square(name):
    closed = program(SCHEMES[name], 1000, 1000)
    assert not {"sort", "top_k", "pure_callback", "io_callback"} & set(primitives(closed.jaxpr))
    assert max(v.aval.size for e in equations(closed.jaxpr) for v in e.outvars) <= 2 * 1000


@pytest.mark.parametrize("scheme", [systematic, stratified], ids=str)
def test_strata_count_offspring_without_a_search(scheme):
    found = list(primitives(program(scheme, 1000, 1000).jaxpr))
    assert not {"while", "scan"} & set(found)
    assert found.count("scatter-add") == 1


@pytest.mark.parametrize("name", NAMES)
def test_one_draw_uses_its_key_once(name):
    found = primitives(program(SCHEMES[name], 100, 50).jaxpr)
    assert sum(primitive in ("random_bits", "random_unwrap") for primitive in found) == 1


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", NAMES)
def test_a_scheme_is_a_static_value(name):
    scheme = SCHEMES[name]
    assert hash(scheme) == hash(pickle.loads(pickle.dumps(scheme)))
    assert scheme == pickle.loads(pickle.dumps(scheme))
    draw = jax.jit(lambda s, key, w: s.draw(key, w, 5), static_argnums=0)
    weights = jnp.array([0.2, 0.5, 0.3])
    plain = jax.jit(lambda key, w: scheme.draw(key, w, 5))
    np.testing.assert_array_equal(draw(scheme, jax.random.key(0), weights), plain(jax.random.key(0), weights))


@pytest.mark.rest_slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("n, m", rest_slow([(7, 3), (1000, 1000), (3, 8)], 2))
@pytest.mark.parametrize("name", NAMES)
def test_resampling_populations_side_by_side_resamples_each_alone(name, n, m, dtype):
    """Bit by bit, also in a map of maps; among them are populations without weight and with all weight on one item."""
    weights = np.random.default_rng(0).exponential(size=(2, 3, n)) ** 4
    weights[0, 1], weights[1, 0, 1:], weights[1, 2, :-1] = 0, 0, 0
    weights, keys = jnp.asarray(weights, dtype), jax.random.split(jax.random.key(0), (2, 3))
    draw = functools.partial(SCHEMES[name].draw, n_offspring=m)
    mapped = jax.jit(jax.vmap(jax.vmap(draw)))(keys, weights)
    alone = jax.jit(draw)
    for at in np.ndindex(2, 3):
        np.testing.assert_array_equal(mapped[at], alone(keys[at], weights[at]))


@pytest.mark.parametrize("rows, axes", [(2047, 1), (2048, 2)])
def test_populations_side_by_side_stand_in_one_row_while_its_slots_can_be_counted(rows, axes):
    fill = jax.vmap(functools.partial(ancestors_from_ends, n_offspring=1 << 20))
    closed = jax.make_jaxpr(fill)(jax.ShapeDtypeStruct((rows, 4), jnp.int32))
    (filled,) = (e for e in equations(closed.jaxpr) if e.primitive.name == "scatter-add")
    assert filled.outvars[0].aval.ndim == axes
    assert closed.out_avals[0].shape == (rows, 1 << 20)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_passes_a_resampling_step(name):
    def total(weights):
        return jnp.sum(weights[SCHEMES[name].draw(jax.random.key(0), weights, 3)])

    rows = jnp.array([[1.0, 2.0, 3.0], [3.0, 0.0, 0.0]])
    np.testing.assert_array_equal(jax.vmap(jax.grad(total))(rows)[1], [3.0, 0.0, 0.0])
    np.testing.assert_array_equal(jax.grad(lambda rows: jnp.sum(jax.vmap(total)(rows)))(rows)[1], [3.0, 0.0, 0.0])


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", NAMES)
def test_enumeration_maps_over_batches_of_weights(name):
    rows = jnp.asarray(np.random.default_rng(0).exponential(size=(4, 3)))
    enumerate_one = jax.jit(lambda w: SCHEMES[name].enumerate(w, 3))
    ancestors, log_masses = jax.jit(jax.vmap(enumerate_one))(rows)
    for row, one_ancestors, one_masses in zip(rows, ancestors, log_masses, strict=True):
        alone = enumerate_one(row)
        np.testing.assert_array_equal(one_ancestors, alone[0])
        np.testing.assert_allclose(np.exp(one_masses), np.exp(alone[1]), atol=1e-14)
