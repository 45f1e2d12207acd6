"""Bands of the distribution function of ranks have the level that they claim, counted path by path."""

import itertools

import numpy as np
import pytest
from scipy.stats import multinomial

from lawful.inference.check.statistics.ecdf import _leaves, _limits, p_value


def paths(n, points):
    """Counts of all bins with their probabilities."""
    for counts in itertools.product(range(n + 1), repeat=points):
        if sum(counts) == n:
            yield np.array(counts), multinomial.pmf(counts, n, [1 / points] * points)


@pytest.mark.parametrize("gamma", [0.3, 0.05, 1e-3])
def test_the_probability_of_leaving_a_band_is_exact(gamma):
    low, high = _limits(6, 4, gamma)
    outside = sum(p for c, p in paths(6, 4) if ((np.cumsum(c) < low) | (np.cumsum(c) > high)).any())
    assert _leaves(6, 4, gamma) == pytest.approx(outside, rel=1e-12)


def test_the_p_value_is_valid_and_exact():
    """P(p <= a) <= a at every a, summed over all paths."""
    found = [(p_value(counts), p) for counts, p in paths(6, 4)]
    for level in {p for p, _ in found}:
        assert sum(p for value, p in found if value <= level) <= level * (1 + 1e-9)


def test_small_p_values_keep_their_digits():
    assert 0 < p_value(np.array([400, 100, 100, 100])) < 1e-40
