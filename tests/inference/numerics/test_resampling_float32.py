"""Float32 at every size: equal weights give the identity, counts are exact to one, and group counts are unbiased.

The binomial tests have the share of a registered check each; the other statements are exact.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binomtest

from lawful.inference.laws.multinomial_resampling import multinomial
from lawful.inference.laws.resampling_schemes import SCHEMES
from lawful.inference.laws.systematic_resampling import ONE_WORD, _one_word, _two_words, stratified, systematic
from tests.tiers import rest_slow

DRAW = {name: jax.jit(SCHEMES[name].draw, static_argnums=2) for name in SCHEMES}
SIZES = [10**3, 10**4, 10**5, ONE_WORD + 1, 10**6]
KEY = jax.random.key(156)

pytestmark = pytest.mark.usefixtures("single_precision")


@pytest.mark.rest_slow
@pytest.mark.regression("15.6a")
@pytest.mark.parametrize(
    ("n", "name"),
    [
        *itertools.product(SIZES, ["systematic", "stratified", "residual"]),
        *(pytest.param(10**7, name, marks=pytest.mark.slow) for name in ("systematic", "stratified", "residual")),
    ],
)
def test_equal_weights_give_the_identity(n, name):
    """A tenth is no binary fraction: its sums round."""
    ancestors = DRAW[name](KEY, jnp.full(n, 0.1, jnp.float32), n)
    np.testing.assert_array_equal(ancestors, np.arange(n))


def weights_of(kind, n):
    rng = np.random.default_rng(n)
    weights = {
        "exponential": lambda: rng.exponential(size=n),
        "heavy": lambda: rng.lognormal(0, 3, size=n),
        "half dead": lambda: rng.exponential(size=n) * (rng.random(n) < 0.5),
    }[kind]()
    return weights.astype(np.float32)


KINDS = ["exponential", "heavy", "half dead"]


@pytest.mark.rest_slow
@pytest.mark.regression("15.6b")
@pytest.mark.parametrize(
    ("kind", "n"),
    [
        *((kind, n) for kind in KINDS for n in (10**3, 10**5, 10**6)),
        pytest.param("half dead", 10**7, marks=[pytest.mark.slow, pytest.mark.optimised]),
    ],
)
def test_systematic_counts_are_within_one_of_the_expected_counts(kind, n):
    weights = weights_of(kind, n)
    counts = np.bincount(DRAW["systematic"](KEY, jnp.asarray(weights), n), minlength=n)
    expected = n * weights.astype(np.float64) / weights.sum(dtype=np.float64)
    assert len(counts) == n and counts.sum() == n
    assert np.abs(counts - expected).max() < 1
    assert not counts[weights == 0].any()


@pytest.mark.rest_slow
@pytest.mark.parametrize("n", [10**3, 10**6])
def test_stratified_and_residual_counts_keep_their_bounds(n):
    weights = weights_of("half dead", n)
    expected = n * weights.astype(np.float64) / weights.sum(dtype=np.float64)
    for name, kept in (
        ("stratified", lambda c: np.abs(c - expected) < 2),
        ("residual", lambda c: c >= np.floor(expected)),
    ):
        counts = np.bincount(DRAW[name](KEY, jnp.asarray(weights), n), minlength=n)
        assert kept(counts).all()
        assert not counts[weights == 0].any()


@pytest.mark.regression("15.6c")
@pytest.mark.optimised
@pytest.mark.parametrize("scheme", rest_slow([systematic, stratified]), ids=str)
def test_group_counts_are_unbiased_in_two_words(scheme, false_alarm):
    """The count of the first items exceeds its floor with the probability that the fraction says."""
    n, group, repeats = ONE_WORD + 1, 1000, 100
    weights = weights_of("exponential", n)
    exact = n * weights.astype(np.float64) / weights.sum(dtype=np.float64)
    expected = exact[:group].sum()
    keys = jax.random.split(KEY, repeats)
    first = jax.jit(lambda key: jnp.sum(scheme.draw(key, jnp.asarray(weights), n) < group))
    excess = [int(first(key)) - int(np.floor(expected)) for key in keys]
    assert set(excess) <= {0, 1}
    assert binomtest(sum(excess), repeats, expected % 1).pvalue > false_alarm


def test_multinomial_finds_the_tail_in_float32(false_alarm):
    """The case of the rare items: a head of 0.9 and 1e6 items of 1e-7 each."""
    weights = np.full(1_000_001, 1e-7, np.float32)
    weights[0] = 0.9
    tail = float(weights[1:].sum(dtype=np.float64) / weights.sum(dtype=np.float64))
    ancestors = jax.jit(multinomial.draw, static_argnums=2)(KEY, jnp.asarray(weights), 4000)
    assert binomtest(int((ancestors > 0).sum()), 4000, tail).pvalue > false_alarm


@pytest.mark.parametrize("kind", KINDS)
def test_one_word_and_two_words_describe_the_same_sums(kind):
    n = 5000
    weights = weights_of(kind, n)
    exact = n * np.cumsum(weights, dtype=np.float64) / weights.sum(dtype=np.float64)
    one = jax.jit(lambda w: _one_word(w, n, jnp.int32))(jnp.asarray(weights))
    two = jax.jit(lambda w: _two_words(w, n))(jnp.asarray(weights))
    one_sums = np.asarray(one.whole) + np.asarray(one.fraction, np.float64) / 2 ** (30 - n.bit_length())
    two_sums = np.asarray(two.whole) + np.asarray(two.fraction, np.float64) / 2**32
    np.testing.assert_allclose(one_sums, exact, rtol=1e-6, atol=0.02)
    np.testing.assert_allclose(two_sums, exact, rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(np.diff(two_sums), np.diff(exact), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.diff(one_sums), np.diff(exact), rtol=1e-5, atol=2.0**-15)
