"""What a scheme compiles to, and that it can serve as a static value: hashable, equal by name, portable."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference.numerics import SCHEMES, stratified, systematic

NAMES = sorted(SCHEMES)


def primitives(jaxpr):
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for parameter in equation.params.values():
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                yield from primitives(inner)


def program(scheme, n, m):
    return jax.make_jaxpr(scheme.draw, static_argnums=2)(jax.random.key(0), jnp.ones(n, jnp.float32), m)


@pytest.mark.parametrize("name", NAMES)
def test_no_draw_sorts_and_none_makes_a_square(name):
    closed = program(SCHEMES[name], 1000, 1000)
    assert not {"sort", "top_k", "pure_callback", "io_callback"} & set(primitives(closed.jaxpr))
    assert max(v.aval.size for e in closed.jaxpr.eqns for v in e.outvars) <= 2 * 1000


@pytest.mark.parametrize("scheme", [systematic, stratified], ids=str)
def test_strata_count_offspring_without_a_search(scheme):
    found = list(primitives(program(scheme, 1000, 1000).jaxpr))
    assert not {"while", "scan"} & set(found)
    assert found.count("scatter-add") == 1


@pytest.mark.parametrize("name", NAMES)
def test_one_draw_uses_its_key_once(name):
    found = primitives(program(SCHEMES[name], 100, 50).jaxpr)
    assert sum(primitive in ("random_bits", "random_unwrap") for primitive in found) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_scheme_is_a_static_value(name):
    scheme = SCHEMES[name]
    assert hash(scheme) == hash(pickle.loads(pickle.dumps(scheme)))
    assert scheme == pickle.loads(pickle.dumps(scheme))
    draw = jax.jit(lambda s, key, w: s.draw(key, w, 5), static_argnums=0)
    weights = jnp.array([0.2, 0.5, 0.3])
    np.testing.assert_array_equal(draw(scheme, jax.random.key(0), weights), scheme.draw(jax.random.key(0), weights, 5))


@pytest.mark.parametrize("name", NAMES)
def test_enumeration_maps_over_batches_of_weights(name):
    rows = jnp.asarray(np.random.default_rng(0).exponential(size=(4, 3)))
    enumerate_one = jax.jit(lambda w: SCHEMES[name].enumerate(w, 3))
    ancestors, log_masses = jax.jit(jax.vmap(enumerate_one))(rows)
    for row, one_ancestors, one_masses in zip(rows, ancestors, log_masses, strict=True):
        alone = enumerate_one(row)
        np.testing.assert_array_equal(one_ancestors, alone[0])
        np.testing.assert_allclose(np.exp(one_masses), np.exp(alone[1]), atol=1e-14)
