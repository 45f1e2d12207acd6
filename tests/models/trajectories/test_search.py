"""Where climbs of a search begin."""

import numpy as np
import pytest

from lawful.models.trajectories import Model
from lawful.models.trajectories.search import searched
from lawful.models.trajectories.walking import Walk, smallest_class

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
