"""Ends of profile intervals are where the profile has dropped by the quantile; towards an edge they are the edge."""

import numpy as np
import pytest
from scipy.stats import chi2

from lawful.errors import LawfulError


@pytest.mark.slow
def test_the_profile_drops_by_the_quantile_at_both_ends_and_the_edge_ends_a_variance(one_class):
    fit = one_class
    knot = fit.to_nlpsem_names()["c1mug"]
    lower, upper = fit.interval("c1mug", 0.9)
    assert lower < knot < upper
    held = fit.profile(1, [lower, upper])  # another way to the profile: the knot is held, not drawn
    np.testing.assert_allclose(held - fit.minus2ll, chi2.ppf(0.9, 1), atol=2e-3)
    near = fit.profile("c1mug", [0.0, 0.002])  # knots run from 0 to 4: one near its bound is held where it is
    assert near[0] > near[1] > fit.minus2ll
    assert upper - lower == pytest.approx(2 * 1.645 * fit.standard_errors.observed[3], rel=0.3)
    low, high = fit.interval("c1psi22")  # persons hardly differ in their late slope
    assert low == pytest.approx(0.0, abs=1e-4) and 0 < high < 0.2
    with pytest.raises(LawfulError, match="no parameter 'knot'"):
        fit.interval("knot")
