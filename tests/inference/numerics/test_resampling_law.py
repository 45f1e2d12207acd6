"""The law of every scheme, against rationals: the joint law of the ancestors, and what follows for the counts."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference.laws.resampling_schemes import SCHEMES
from tests.inference.numerics.exact import BATTERY, CASES, EDGE, LAWS, ancestors_at, expected_counts

pytestmark = pytest.mark.tier0
NAMES = sorted(SCHEMES)
every_scheme = pytest.mark.parametrize("name", NAMES)
every_case = pytest.mark.parametrize(("case", "m"), CASES)

ENUMERATE = {name: jax.jit(SCHEMES[name].enumerate, static_argnums=1) for name in NAMES}
PUSH = {name: jax.jit(SCHEMES[name].push, static_argnums=2) for name in NAMES}
PUSH_ALL = {name: jax.jit(jax.vmap(SCHEMES[name].push, in_axes=(0, None, None)), static_argnums=2) for name in NAMES}


def cells(name, weights, m):
    ancestors, log_masses = ENUMERATE[name](jnp.asarray(weights), m)
    return np.asarray(ancestors), np.exp(np.asarray(log_masses))


def law_of(name, weights, m):
    law = {}
    for row, mass in zip(*cells(name, weights, m), strict=True):
        law[tuple(row.tolist())] = law.get(tuple(row.tolist()), 0.0) + mass
    return law


def counts(ancestors, n):
    return np.stack([(ancestors == i).sum(axis=-1) for i in range(n)], axis=-1)


def distance(one, other):
    return max(abs(one.get(cell, 0) - float(other.get(cell, 0))) for cell in {*one, *other})


@pytest.mark.kills("56", name="stratified", case="ties", m=3)
@pytest.mark.rest_slow
@every_scheme
@every_case
def test_enumeration_is_the_exact_law_of_the_ancestors(name, case, m):
    weights = BATTERY[case]
    assert distance(law_of(name, weights, m), LAWS[name](weights, m)) < EDGE


@every_scheme
@every_case
def test_expected_counts_are_the_shares_of_the_weights(name, case, m):
    weights = BATTERY[case]
    ancestors, masses = cells(name, weights, m)
    assert abs(masses.sum() - 1) < EDGE
    mean = masses @ counts(ancestors, len(weights))
    np.testing.assert_allclose(mean, [float(x) for x in expected_counts(weights, m)], rtol=0, atol=EDGE)


@every_scheme
@every_case
def test_counts_keep_the_bounds_of_the_scheme(name, case, m):
    weights = BATTERY[case]
    ancestors, masses = cells(name, weights, m)
    assert ancestors.shape == (SCHEMES[name].cells(len(weights), m), m)
    for row in counts(ancestors[masses > EDGE], len(weights)).tolist():
        assert sum(row) == m
        for count, weight, expected in zip(row, weights, expected_counts(weights, m), strict=True):
            assert weight > 0 or count == 0
            assert name != "systematic" or abs(count - expected) < 1
            assert name != "stratified" or abs(count - expected) < 2
            assert name != "residual" or count >= math.floor(expected)


@pytest.mark.rest_slow
@every_scheme
@every_case
def test_push_at_random_uniforms_falls_on_the_representative_of_its_cell(name, case, m):
    scheme, weights = SCHEMES[name], BATTERY[case]
    n = len(weights)
    possible = {tuple(row.tolist()) for row, mass in zip(*cells(name, weights, m), strict=True) if mass > 0}
    shape = scheme.uniforms_shape(n, m)
    rng = np.random.default_rng(7)
    dtype = np.uint32 if scheme.paired else np.uint64
    words = rng.integers(0, np.iinfo(dtype).max, (50, *shape), dtype=dtype, endpoint=True)
    for given, pushed in zip(
        words, np.asarray(PUSH_ALL[name](jnp.asarray(words), jnp.asarray(weights), m)), strict=True
    ):
        truth, near = ancestors_at(name, as_fractions(given, scheme.paired), weights, m)
        assert near or tuple(pushed.tolist()) == truth
        assert tuple(pushed.tolist()) in possible


def as_fractions(words, paired):
    if paired:
        return [Fraction(int(a), 1 << 32) + Fraction(int(b), 1 << 64) for a, b in words]
    return [Fraction(int(w), 1 << 64) for w in np.atleast_1d(words)]


@pytest.mark.rest_slow
@every_scheme
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_extreme_uniforms_land_inside_and_never_on_weight_zero(name, dtype):
    batteries = [w for w in BATTERY.values() if len(w) == 3 and 1e-3 < sum(w) < 1e3]
    shape = SCHEMES[name].uniforms_shape(3, 3)
    largest = float(jnp.nextafter(jnp.ones((), dtype), jnp.zeros((), dtype)))
    extremes = [jnp.full(shape, v, dtype) for v in (0.0, largest)]
    extremes += [jnp.full(shape, v, jnp.uint32) for v in (0, 0xFFFFFFFF)]
    for uniforms in extremes:
        for weights in batteries:
            ancestors = np.asarray(PUSH[name](uniforms, jnp.asarray(weights, dtype), 3))
            assert ((ancestors >= 0) & (ancestors < 3)).all()
            assert (np.asarray(weights, dtype)[ancestors] > 0).all()


@every_scheme
@pytest.mark.parametrize("scale", [2.0**-300, 1e-100, 3.0, 1e4, 1e200])
def test_the_scale_of_the_weights_does_not_matter(name, scale):
    weights = np.array(BATTERY["exponential"])
    assert distance(law_of(name, weights * scale, 4), law_of(name, weights, 4)) < EDGE


def test_multinomial_is_equivariant_under_permutations():
    weights = np.array(BATTERY["exponential"])
    order = [2, 0, 3, 1]
    law = law_of("multinomial", weights, 4)
    permuted = law_of("multinomial", weights[order], 4)
    assert distance({tuple(order[i] for i in cell): mass for cell, mass in permuted.items()}, law) < EDGE


@every_scheme
def test_draws_tell_float64_weights_apart(name):
    """The second item is below the resolution of float32; two of 20 draws have probability 8e-16."""
    weights = jnp.array([1.0, 1e-9])
    draw = jax.jit(lambda key: jnp.sum(SCHEMES[name].draw(key, weights, 2) == 1))
    assert sum(int(draw(key)) for key in jax.random.split(jax.random.key(9), 20)) <= 1
