"""Tests against a larger fit: what is not nested is refused, and one class more is simulated."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.stats import chi2

from lawful.errors import LawfulError
from lawful.models.trajectories import TrajectoryMixture, bootstrap_ratio, criteria_table, likelihood_ratio


@pytest.mark.slow
def test_the_statistic_is_the_difference_and_is_scaled_by_the_corrections_of_both(two_lines):
    _, gated, plain = two_lines
    found = likelihood_ratio(plain, gated)
    assert found.df == 1
    assert found.statistic == pytest.approx(plain.minus2ll - gated.minus2ll) and found.statistic > 10
    assert found.p_value == pytest.approx(chi2.sf(found.statistic, 1))
    factors = gated.n_parameters * gated.standard_errors.factor - plain.n_parameters * plain.standard_errors.factor
    assert found.scaled == pytest.approx(found.statistic / factors)
    with pytest.raises(LawfulError, match="not held"):
        likelihood_ratio(gated, plain)


def test_criteria_stand_side_by_side_where_they_can_be_compared(two_lines):
    _, gated, plain = two_lines
    table = criteria_table([plain, gated])
    assert table.classes.tolist() == [2, 2] and table.parameters.tolist() == [13, 14]
    np.testing.assert_array_equal(table.bic, [plain.bic, gated.bic])
    np.testing.assert_allclose(table.smallest, [fit.class_sizes.min() for fit in (plain, gated)])
    assert table.reached.tolist() == [plain.reached(), gated.reached()] and not table.edges.any()
    other = replace(plain, data=replace(plain.data, y=plain.data.y + 1))
    for fits, named in (
        ([], "no fit"),
        ([plain, replace(gated, penalised=True)], "penalties differ"),
        ([plain, other], "saw"),
    ):
        with pytest.raises(LawfulError, match=named):
            criteria_table(fits)
    with pytest.raises(LawfulError, match="penalties differ"):
        bootstrap_ratio(replace(plain, model=replace(plain.model, n_classes=1), penalised=True), plain, 0)


@pytest.mark.slow
def test_one_class_more_is_tested_by_data_drawn_from_fewer(two_lines):
    data, _, two = two_lines
    one = TrajectoryMixture(1, "LIN", n_starts=2).fit(data, y_var="Y", t_var="T", records=range(1, 5))
    found = bootstrap_ratio(one, two, jax.random.key(0), n=9, n_starts=2)
    assert found.statistic == pytest.approx(one.minus2ll - two.minus2ll, abs=1e-6)
    assert (found.replicates >= 0).all() and found.replicates.max() > 0.5
    assert found.p_value == pytest.approx((1 + np.sum(found.replicates >= found.statistic)) / 10) == 0.1
    with pytest.raises(LawfulError, match="expected one more"):
        bootstrap_ratio(two, one, jax.random.key(0))
    with pytest.raises(LawfulError, match="more than covariates"):
        likelihood_ratio(one, two)
