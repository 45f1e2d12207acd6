"""A fit tells itself in a line, and at each of its optima."""

import numpy as np
import pytest

from lawful.errors import LawfulError
from lawful.models.trajectories import TrajectoryMixture

from .plots.made import TRUTH, fit_at


@pytest.fixture(scope="module")
def fit():
    """Four starts: two at the best value, one 6 units of -2LL worse, one degenerate."""
    return fit_at(TRUTH, np.tile(np.arange(5.0) + 0.1, (40, 1)))


def test_a_fit_at_another_optimum_forgets_all_that_is_better(fit):
    again, worse, degenerate = (fit.optimum(place) for place in range(3))
    assert again.minus2ll == fit.minus2ll and len(again.optima) == 3
    assert worse.minus2ll == pytest.approx(fit.minus2ll + 6.0) and len(worse.optima) == 2
    assert worse.minus2ll == fit.optima.minus2ll[1] and degenerate.minus2ll == fit.optima.minus2ll[2]
    assert worse.starts.minus2ll.min() == worse.minus2ll or worse.starts.degenerate[0]
    with pytest.raises(LawfulError, match="there are 3"):
        fit.optimum(3)


def test_fits_and_models_tell_themselves_in_a_line(fit):
    told = repr(fit)
    assert told.startswith("<TrajectoryFit: bilinear spline, 2 classes, 40 persons, 24 parameters, -2LL ")
    assert told.endswith("reached by 2 of 4 starts>") and "\n" not in told
    assert repr(TrajectoryMixture(3, knot_bounds=(1, 2))) == "TrajectoryMixture(n_classes=3, knot_bounds=(1, 2))"
