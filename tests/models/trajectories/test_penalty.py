"""The weak penalty hardly moves a regular fit, and takes a singular one off its edge."""

import numpy as np
import pytest

from lawful.models.trajectories import TrajectoryMixture

from .test_estimator import of_demo, of_school


@pytest.mark.slow
def test_a_regular_fit_hardly_moves_and_a_singular_covariance_becomes_regular(two_lines, one_class):
    data, _, plain = two_lines
    fit = TrajectoryMixture(2, "LIN", n_starts=4, penalty="weak").fit(data, y_var="Y", t_var="T", records=range(1, 5))
    assert 0 <= fit.minus2ll - plain.minus2ll < 0.5
    assert fit.minus2ll_penalised != pytest.approx(fit.minus2ll, abs=1e-3)
    assert f"with the weak penalty: {fit.minus2ll_penalised:.3f}" in fit.summary()
    np.testing.assert_allclose(-2 * fit.log_likelihood_by_person.sum(), fit.minus2ll)


@pytest.mark.slow
@pytest.mark.reference
@pytest.mark.optimised
def test_the_published_demonstration_moves_by_less_than_half_a_unit_and_the_school_leaves_its_edge(demo, school):
    for variant in ("full", "plain"):
        free, kept = of_demo(demo, variant), of_demo(demo, variant, penalty="weak")
        print(variant, free.minus2ll, kept.minus2ll, kept.minus2ll_penalised)
        assert 0 <= kept.minus2ll - free.minus2ll < 0.5
    edge, kept = of_school(school, 2), of_school(school, 2, penalty="weak")
    print("school", edge.minus2ll, kept.minus2ll, kept.minus2ll_penalised)
    assert {finding.kind for finding in edge.boundary} == {"psi", "kink"}
    assert "psi" not in {finding.kind for finding in kept.boundary} and kept.minus2ll > edge.minus2ll
