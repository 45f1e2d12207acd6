"""Standard normals by pairs: the map of words is the polar form, and the numbers are normal and independent."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats
from jax import lax

from lawful.distributions.sampling.batched_draw import widen
from lawful.distributions.sampling.normal import cosine, standard_normals
from lawful.distributions.sampling.threefry import pairs
from lawful.inference.check.statistics.power import z_critical

KEY = jax.random.key(3)
COUNT = 1 << 20


@pytest.fixture(scope="module")
def draws():
    return np.asarray(jax.jit(lambda: standard_normals(KEY, (COUNT,)))(), float)


def test_the_map_is_the_polar_form_of_the_words():
    first, second = (np.asarray(word, float) for word in pairs(KEY, 10_000))
    radius, angle = np.sqrt(-2 * np.log((first + 0.5) / 2**32)), 2 * np.pi * second / 2**32
    expected = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    np.testing.assert_allclose(standard_normals(KEY, (10_000,)), expected, atol=2e-4)


def test_the_cosine_is_right_all_around():
    angle = np.linspace(-(2**31), 2**31 - 1, 100_003).astype(np.int32)
    np.testing.assert_allclose(cosine(jnp.asarray(angle)), np.cos(2 * np.pi * angle / 2**32), atol=3e-7)


def test_the_extreme_words_give_finite_numbers(monkeypatch):
    corners = jnp.asarray([0, 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1], jnp.uint32)
    first, second = (grid.reshape(-1) for grid in jnp.meshgrid(corners, corners))
    monkeypatch.setattr("lawful.distributions.sampling.normal.pairs", lambda key, count: (first, second))
    z = standard_normals(KEY, (2 * first.size,))
    assert np.isfinite(z).all()
    assert 6 < np.abs(z).max() < 7


def test_the_numbers_are_normal(draws, false_alarm):
    """Kolmogorov-Smirnov on 2**20 draws; a scale wrong by 2 % is found with power 0.99."""
    assert scipy.stats.kstest(draws, "norm").pvalue > false_alarm
    assert scipy.stats.kstest(draws * 1.02, "norm").pvalue < false_alarm


def test_the_numbers_of_a_pair_and_neighbours_are_independent(draws, false_alarm):
    """Eight correlations of numbers and of their squares; 1 % is found with power 0.99."""
    half = COUNT // 2
    for one, two in ((draws[:half], draws[half:]), (draws[:-1], draws[1:])):
        for f in (lambda x: x, np.square):
            for g in (lambda x: x, np.square):
                assert abs(np.corrcoef(f(one), g(two))[0, 1]) < z_critical(false_alarm, 8) / np.sqrt(len(one))


def test_tails_weigh_what_they_should(draws, false_alarm):
    """Counts beyond 3 and 4 on both sides."""
    for bound in (3.0, 4.0):
        for count in ((draws > bound).sum(), (draws < -bound).sum()):
            assert scipy.stats.binomtest(int(count), COUNT, scipy.stats.norm.sf(bound)).pvalue > false_alarm / 4


@pytest.mark.parametrize("make", [dist.Normal, dist.LogNormal])
def test_lanes_in_float32_are_drawn_by_pairs(make):
    with jax.enable_x64(False):
        widened = widen(lambda key: make(0.0, 1.0).sample(key), [], [], 100)
        assert "erf_inv" not in str(jax.make_jaxpr(widened.function)(KEY))


def test_the_shape_may_be_odd_or_empty():
    for shape in ((3,), (5, 7), (0,), ()):
        assert jax.jit(standard_normals, static_argnums=1)(KEY, shape).shape == shape
    assert lax.dtype(jax.jit(standard_normals, static_argnums=1)(KEY, (3,))) == jnp.float32
