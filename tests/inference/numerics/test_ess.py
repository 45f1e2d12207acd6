"""Effective sample size: its two ends, its scale invariance, and what faults do to it."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lawful.inference.laws.resampling_schemes import ess, ess_below

positive = st.lists(st.floats(1e-6, 1e6), min_size=8, max_size=8)


@pytest.mark.parametrize("n", [1, 7, 1000])
def test_equal_weights_count_fully_and_a_single_survivor_once(n):
    np.testing.assert_allclose(ess(jnp.full(n, 0.1)), n, rtol=1e-12)
    np.testing.assert_allclose(ess(jnp.zeros(n).at[n // 2].set(3.0)), 1, rtol=1e-12)


@given(positive, st.sampled_from([1e-200, 1.0, 1e200]))
def test_it_is_the_definition_at_any_scale(weights, scale):
    w = np.array(weights)
    np.testing.assert_allclose(ess(jnp.asarray(w * scale)), w.sum() ** 2 / (w * w).sum(), rtol=1e-12)


def test_dead_weights_have_size_zero_and_nan_stays_visible():
    assert ess(jnp.zeros(3)) == 0
    assert jnp.isnan(ess(jnp.array([1.0, jnp.nan])))


def test_the_rule_decides_below_its_fraction_only_and_never_on_nan():
    rule = ess_below(0.5)
    assert [bool(rule(jnp.asarray(size), 10)) for size in (4.9, 5.0, 5.1, jnp.nan)] == [True, False, False, False]
    assert rule == ess_below(0.5) and hash(rule) == hash(ess_below(0.5))
    assert repr(rule) == "ess < 0.5 N"
