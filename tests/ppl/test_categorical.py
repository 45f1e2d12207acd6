"""Categorical draws have the probabilities of their logits; rare items in float32 are in tests/regressions.

False alarms: each test of a p-value has a tenth of the share of a registered check, ten of them together one share.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from lawful.distributions.densities import FEW_ITEMS, categorical
from lawful.distributions.sampling.batched_draw import widen
from lawful.distributions.sampling.categorical import FEW, sample_categorical, sample_rows
from lawful.inference.check import ALPHA as SHARE

ALPHA = SHARE / 10
KEY = jax.random.key(154)
pytestmark = pytest.mark.reuses_keys
DRAW = jax.jit(sample_categorical, static_argnums=2)


@pytest.fixture(params=[jnp.float32, jnp.float64], ids=["float32", "float64"])
def dtype(request):
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", request.param == jnp.float64)
    yield request.param
    jax.config.update("jax_enable_x64", before)


def expected_counts(logits, draws):
    weights = np.exp(logits.astype(np.float64))
    return weights / weights.sum() * draws


def test_every_item_of_a_row_has_its_probability(dtype):
    logits = np.array([0.5, -np.inf, -3.0, 2.0, 1.0], dtype)
    draws = DRAW(KEY, jnp.asarray(logits), (20_000,))
    expected = expected_counts(logits, 20_000)
    counts = np.bincount(draws, minlength=5)
    assert counts[1] == 0
    assert stats.chisquare(counts[expected > 0], expected[expected > 0]).pvalue > ALPHA


@pytest.mark.parametrize(
    ("batch", "shape"), [((), ()), ((2,), ()), ((2, 3), ()), ((), (4,)), ((2,), (4,)), ((2, 3), (4, 5))]
)
def test_shapes_are_those_of_a_distribution(dtype, batch, shape):
    logits = jnp.zeros((*batch, 6), dtype)
    draws = jax.eval_shape(lambda x: sample_categorical(KEY, x, shape), logits)
    assert draws.shape == (*shape, *batch)
    assert draws.dtype == jnp.result_type(int)


def test_each_row_of_a_batch_has_its_own_probabilities(dtype):
    rows = np.random.default_rng(1).normal(size=(2, 3, 4)).astype(dtype)
    draws = np.asarray(DRAW(KEY, jnp.asarray(rows), (8000,)))
    for i, j in np.ndindex(2, 3):
        counts = np.bincount(draws[:, i, j], minlength=4)
        assert stats.chisquare(counts, expected_counts(rows[i, j], 8000)).pvalue > ALPHA
    assert abs(np.corrcoef(draws.reshape(8000, -1).T) - np.eye(6)).max() < 0.07  # five sigma and more


@pytest.mark.parametrize("offset", [-1e4, 1e4, -800.0])
def test_a_common_offset_changes_nothing(dtype, offset):
    logits = jnp.array([0.0, 1.0, 2.0, -8.0], dtype)
    np.testing.assert_array_equal(DRAW(KEY, logits + offset, (1000,)), DRAW(KEY, logits, (1000,)))


@pytest.mark.parametrize("bad", [[-np.inf] * 3, [0.0, np.nan, 0.0], [0.0, np.inf, 0.0]])
def test_logits_without_a_distribution_give_no_index(dtype, bad):
    rows = jnp.asarray([bad, [0.0, -np.inf, -np.inf]], dtype)
    np.testing.assert_array_equal(DRAW(KEY, rows, (3,)), [[-1, 0]] * 3)


@pytest.mark.rest_slow
@pytest.mark.parametrize("k", [3, 100])
@pytest.mark.parametrize("laned", [False, True])
def test_draws_widen_to_lanes_with_one_key(dtype, k, laned):
    lanes = 9000
    logits = np.random.default_rng(2).normal(size=k).astype(dtype)
    widened = widen(sample_categorical, [jnp.zeros(k, dtype)], [laned], lanes)
    assert not widened.fallback
    given = jnp.broadcast_to(jnp.asarray(logits), (lanes, k)) if laned else jnp.asarray(logits)
    counts = np.bincount(jax.jit(widened.function)(KEY, given), minlength=k)
    assert stats.chisquare(counts, expected_counts(logits, lanes)).pvalue > ALPHA


@pytest.mark.rest_slow
@pytest.mark.parametrize("items", [1, 2, 3, FEW, FEW + 1, 40])
def test_draws_of_many_rows_are_those_of_each_row_widened(dtype, items):
    weights = np.random.default_rng(items).gamma(0.5, size=(500, items)).astype(dtype)
    weights[::7, 0] = 0.0
    widened = widen(lambda key, w: sample_categorical(key, jnp.log(w)), [jnp.zeros(items, dtype)], [True], 500)
    drawn = jax.jit(sample_rows)(KEY, weights)
    np.testing.assert_array_equal(drawn, jax.jit(widened.function)(KEY, weights))
    assert items == 1 or (weights[np.arange(500), drawn] > 0).all()


@pytest.mark.parametrize("items", [3, FEW + 1])
def test_a_row_without_usable_weights_has_no_index(dtype, items):
    row = np.ones(items)
    rows = np.array([0 * row, row, np.where(np.arange(items) == 1, np.nan, 1.0), np.where(row > 0, np.inf, 1.0)], dtype)
    drawn = np.asarray(jax.jit(sample_rows)(KEY, rows))
    assert (drawn[[0, 2, 3]] == -1).all() and 0 <= drawn[1] < items


def test_rows_of_any_scale_keep_their_proportions(dtype):
    """Two items of ratio 3, on scales from the least to the largest number: a binomial test of each."""
    for scale in (1e-37, 1e-20, 1.0, 1e20, 1e38):
        rows = jnp.broadcast_to(jnp.asarray([0.25 * scale, 0.75 * scale], dtype), (4000, 2))
        second = int(jax.jit(sample_rows)(KEY, rows).sum())
        assert stats.binomtest(second, 4000, 0.75).pvalue > ALPHA


@pytest.mark.parametrize("items", [1, 2, FEW_ITEMS, FEW_ITEMS + 1])
@pytest.mark.parametrize("batch", [(), (3, 1)], ids=str)
def test_the_density_of_an_item_is_the_logarithm_of_its_probability(items, batch):
    probs = np.random.default_rng(items).dirichlet(np.ones(items), batch)
    value = np.random.default_rng(1).integers(0, items, (3, 5))
    exact = np.log(np.take_along_axis(np.broadcast_to(probs, (3, 5, items)), value[..., None], -1)[..., 0])
    found = jax.jit(categorical)(dist.Categorical(probs), value)
    np.testing.assert_allclose(found, exact, rtol=1e-15)


@pytest.mark.parametrize("items", [3, FEW_ITEMS + 1])
def test_an_impossible_item_has_no_density_and_leaves_no_trace_in_the_derivative_of_others(items):
    probs = np.where(np.arange(items) == 1, 0.0, 1 / (items - 1))
    density = jax.jit(jax.value_and_grad(lambda p, value: categorical(dist.Categorical(p), value)))
    assert density(probs, 1)[0] == -np.inf
    slope = density(probs, 2)[1]
    np.testing.assert_allclose(slope, np.where(np.arange(items) == 2, items - 1.0, 0.0), rtol=1e-15)
