"""A predictive check passes data of the fit, and finds a wave that was measured with another yardstick."""

from dataclasses import replace

import numpy as np
import pytest

from lawful.models.trajectories.plots import plot_residuals, predictive_check
from lawful.models.trajectories.plots.residuals import waves_of, weighted_quantiles


def outside(told):
    """Share of the quantiles seen that no drawn data set reaches on one side."""
    low, high = told.drawn.min(axis=0), told.drawn.max(axis=0)
    return (told.seen < low) | (told.seen > high)


@pytest.mark.slow
def test_data_of_the_fit_are_inside_and_a_shifted_wave_is_outside(fit):
    told = predictive_check(fit, draws=30)
    assert told.seen.shape == (2, 6, 3) and told.drawn.shape == (30, 2, 6, 3)
    assert outside(told).mean() < 0.25  # 2/31 are expected of each
    y = fit.data.y.copy()
    y[:, 3] += 1.5
    shifted = predictive_check(replace(fit, data=replace(fit.data, y=y)), draws=30)
    assert outside(shifted)[:, 3, 1].all()


def test_bands_and_quantiles_are_drawn_for_each_class(fit):
    axes = plot_residuals(fit, draws=3)
    assert [ax.get_title() for ax in axes] == ["class 1", "class 2"]
    assert all(len(ax.collections) == 3 and len(ax.get_lines()) == 3 for ax in axes)


def test_quantiles_weigh_persons_by_their_membership():
    y = np.arange(8.0)[:, None]
    w = np.array([[1.0, 0.0]] * 4 + [[0.0, 1.0]] * 4)
    found = weighted_quantiles(y, np.zeros((2, 8, 1)), w, np.zeros((8, 1), int), 1)
    np.testing.assert_allclose(found[:, 0, 1], [1.5, 5.5])


def test_waves_are_times_where_few_are_distinct_and_places_elsewhere():
    few = np.array([[0.5, 1.5, np.nan], [1.5, 2.5, np.nan]])
    wave, times = waves_of(few)
    assert wave.tolist() == [[0, 1, -1], [1, 2, -1]] and times.tolist() == [0.5, 1.5, 2.5]
    many = np.arange(10.0)[:, None] * 0.01 + np.array([0.0, 1.0])
    wave, times = waves_of(many)
    assert wave.tolist() == [[0, 1]] * 10
    np.testing.assert_allclose(times, [0.045, 1.045])
