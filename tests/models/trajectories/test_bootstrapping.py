"""Replicates are maxima for data drawn from the estimate, and their spread is that of the Wald errors."""

from dataclasses import replace

import jax
import numpy as np
import pytest


@pytest.mark.slow
def test_replicates_spread_as_curvature_says_and_a_key_gives_the_same_again(two_lines):
    _, _, fit = two_lines
    made = fit.bootstrap(jax.random.key(1), 50)
    first = jax.random.split(jax.random.key(1), 50)[0]
    drawn = fit.redrawn(first)
    assert drawn.y.shape == fit.data.y.shape and not np.allclose(drawn.y, fit.data.y)
    again = fit.bootstrap(jax.random.key(1), 50)
    np.testing.assert_array_equal(made.values, again.values)
    assert made.calm.mean() > 0.9
    # Six standard errors of a standard deviation of 50 values.
    ratio = made.errors / fit.standard_errors.observed
    assert (np.abs(ratio - 1) < 6 / (2 * 49) ** 0.5).all()
    frame = made.frame(0.9)
    assert (frame.lower < frame.upper).all() and len(frame) == fit.n_parameters
    assert ((frame.lower < frame.estimate) & (frame.estimate < frame.upper)).mean() > 0.8


def test_a_replicate_is_higher_than_the_estimate_on_its_own_data(two_lines):
    _, _, fit = two_lines
    key = jax.random.key(4)
    made = fit.bootstrap(key, 1)
    drawn = fit.redrawn(jax.random.split(key, 1)[0])
    at_estimate = _minus2ll(fit, drawn)
    assert 0 < at_estimate - made.minus2ll[0] < 60  # twice the gain of 13 parameters is about 13


def _minus2ll(fit, drawn):
    there = replace(fit, data=drawn, problem=fit.problem._replace(panel=fit.standard_panel(drawn)))
    return float(-2 * there.log_likelihood_by_person.sum())
