"""Where climbs of a search begin."""

import numpy as np
import pytest

from lawful.models.trajectories import Bounds, Model, panel
from lawful.models.trajectories.fitting.batches import Ends, Walk, smallest_class
from lawful.models.trajectories.fitting.search import searched
from lawful.models.trajectories.fitting.starts import NOISE, random_starts

from .plots.made import TRUTH, fit_at


class Stopped(Exception):
    """Nothing is to be climbed."""


@pytest.mark.parametrize(("smoothing", "smoothed"), [("mixed", [0, 2, 4]), ("on", [0, 1, 2, 3, 4, 5]), ("off", [])])
def test_a_start_of_the_users_is_climbed_from_where_it_is_whatever_the_others_see(monkeypatch, smoothing, smoothed):
    fit, seen = fit_at(TRUTH, np.tile(np.arange(5.0) + 0.1, (40, 1))), {}

    def climbed(self, free, stage, **more):
        seen.update(stage=stage, direct=self.direct, free=free)
        raise Stopped

    monkeypatch.setattr(Walk, "climbed", climbed)
    own = fit.parameters._replace(gate=np.zeros((2, 2)))
    with pytest.raises(Stopped):
        searched(fit.problem, fit.model, 6, 0, smoothing, own=own)
    assert np.flatnonzero(seen["stage"] == 0).tolist() == smoothed
    assert len(seen["free"]) == 7 and seen["stage"][6] == seen["direct"]


def test_a_class_below_a_twentieth_of_the_persons_or_twice_its_growth_factors_and_two_is_degenerate():
    assert smallest_class(Model("BLS", 2), 500) == 25.0 and smallest_class(Model("BLS", 3), 100) == 8.0
    assert smallest_class(Model("LIN", 1), 500) == 0.0


@pytest.mark.parametrize("curve", ["LIN", "QUAD"])
def test_starts_have_the_noise_that_persons_curves_leave(curve):
    """Persons differ a thousand times as much as a wave does from its curve; 400 persons with six waves to spare."""
    rng, t, model = np.random.default_rng(0), np.linspace(0.0, 1.0, 9), Model(curve, 2)
    eta = rng.normal(size=(400, model.form.q))
    y = eta @ np.stack([t**power for power in range(model.form.q)]) + 0.03 * rng.normal(size=(400, 9))
    starts = random_starts(panel(y, t), model, Bounds(0.0, 1.0), 4, rng)
    noise = np.array([start.noise for start in starts])
    assert noise == pytest.approx(np.full((4, 2), 0.03**2), rel=0.1)
    few = random_starts(panel(y[:, : model.form.q], t[: model.form.q]), model, Bounds(0.0, 1.0), 1, rng)
    assert (few[0].noise == NOISE[1]).all()  # nobody has a wave to spare


@pytest.mark.parametrize(
    ("value", "degenerate", "heights"),
    [
        ([1.0, 3.0, np.nan], [False, True, False], [1.0, -np.inf, -np.inf]),
        ([1.0, 3.0, np.nan], [True, True, False], [1.0, 3.0, -np.inf]),  # no regular end: the others are what there is
    ],
)
def test_degenerate_ends_count_where_no_other_is_there(value, degenerate, heights):
    m = len(value)
    rows, column = np.arange(m), np.ones((m, 1))
    ends = Ends(column, np.array(value), column, rows, rows >= 0, np.array(degenerate), column)
    np.testing.assert_array_equal(ends.heights, heights)
    assert ends.best == np.argmax(heights)
