"""A fit tells itself in a line, and at each of its optima."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.special import xlogy

from lawful.errors import LawfulError
from lawful.models.trajectories import TrajectoryMixture, factor_scores, panel
from lawful.models.trajectories.fitting.search import Search

from .plots.made import TRUTH, fit_at


@pytest.fixture(scope="module")
def fit():
    """Four starts: two at the best value, one 6 units of -2LL worse, one degenerate."""
    chol = TRUTH.chol.copy()
    chol[1, 1, :2] = 0.4, 0.3  # classes differ in their correlations
    return fit_at(TRUTH._replace(chol=chol), np.tile(np.arange(5.0) + 0.1, (40, 1)))


@pytest.mark.slow
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


def test_starts_alone_replicate_a_best_value_and_polish_does_not(fit):
    assert (fit.reached(), fit.reached(6.5), fit.replicated) == (2, 3, True)
    assert "best value reached by 2 of 4 starts (2 to 0.1) and by 1 climbs of polish" in fit.summary()
    for places, words in (([0, 2, 3, 4], "one start alone"), ([2, 3, 4], "polish alone")):
        few = replace(fit, search=Search(**vars(fit.search.at(places))))
        assert not few.replicated and f"NOT REPLICATED: {words}" in few.summary()


def test_an_order_and_a_reference_change_words_alone(fit):
    names = fit.to_nlpsem_names()
    assert fit.reordered("mug").order == (0, 1) and fit.reordered((2, 1)).order == (1, 0)
    other = fit.reordered("mueta2")
    again = other.to_nlpsem_names()
    assert again["c1mug"] == names["c2mug"] and again["beta20"] == pytest.approx(-names["beta20"], rel=1e-12)
    assert other.minus2ll == fit.minus2ll and other.class_sizes.tolist() == fit.class_sizes[::-1].tolist()
    assert other.reordered().order == (fit.order if fit.class_sizes[0] > fit.class_sizes[1] else other.order)
    against = fit.reordered((1, 2), reference=2).to_nlpsem_names()
    assert against["beta11"] == pytest.approx(-names["beta21"], rel=1e-12) and "beta21" not in against
    for asked in ({"by": "knot"}, {"by": (1, 1)}, {"reference": 3}, {"by": "beta0"}):
        with pytest.raises(LawfulError, match="Fix: order by 'size', by one of mueta0"):
            fit.reordered(**asked)


def test_what_a_fit_cannot_be_asked_is_refused_at_once(fit):
    low = float(fit.problem.bounds.low) * float(fit.scaling.t_scale)
    asked = [
        (lambda: fit.profile(0, [2.0]), "no class 0"),
        (lambda: fit.profile("c3mug", [2.0]), "no class 'c3mug'"),
        (lambda: fit.profile(1, [2.0, 9.0]), f"9 for the knot, expected values .m,. between {low:g} and"),
        (lambda: fit.profile(1, []), "an array of shape"),
        (lambda: fit.interval("c1mug", level=95.0), "level=95"),
        (lambda: fit.curves([0.0], level=0.0), "level=0.0"),
        (lambda: fit.bootstrap(0, 0), "n=0"),
        (lambda: fit.accuracy([1, 2]), "40 persons and 2"),
        (lambda: fit.accuracy([1.0] * 39 + [np.nan]), "1 missing"),
        (lambda: fit.kappa(np.ones((40, 2))), "of shape"),
    ]
    for call, named in asked:
        with pytest.raises(LawfulError, match=named) as error:
            call()
        assert "Fix:" in str(error.value)


def test_frames_are_read_where_persons_are_asked_for_and_seeds_are_keys(fit):
    data = {f"{name}{j + 1}": getattr(fit.data, name.lower())[:, j] for name in "YT" for j in range(5)}
    frame = data | {"income": fit.data.gate[:, 0]}
    np.testing.assert_allclose(fit.predict_proba(frame), fit.predict_proba(), rtol=1e-9)
    np.testing.assert_array_equal(fit.predict(frame), fit.predict())
    np.testing.assert_array_equal(fit.simulate(3).y, fit.simulate(jax.random.key(3)).y)


def test_factor_scores_are_told_as_reports_are_and_mix_by_memberships(fit):
    """A person's curve from the level at time 0 is the one from the level at the knot."""
    mean, cov = fit.factor_scores()
    at = jax.tree.map(lambda leaf: np.asarray(leaf)[..., None], fit.parameters)
    inner, spread = factor_scores(at, panel(fit.data.y, fit.data.t, fit.data.gate), fit.model)
    t = np.linspace(0.0, 5.0, 6)
    for k, knot in enumerate(fit.parameters.shape[:, 0]):
        loads = np.stack([np.ones(6), np.minimum(t, knot), np.maximum(t - knot, 0)], axis=1)
        basis = np.stack([np.ones(6), np.minimum(t - knot, 0), np.maximum(t - knot, 0)], axis=1)
        np.testing.assert_allclose(mean[:, k] @ loads.T, inner[k] @ basis.T, rtol=1e-8)
        np.testing.assert_allclose(loads @ cov[:, k] @ loads.T, basis @ spread[k] @ basis.T, rtol=1e-8)
    middle, whole = fit.factor_scores(mixed=True)
    w = fit.predict_proba()
    np.testing.assert_allclose(middle, w[:, [0]] * mean[:, 0] + w[:, [1]] * mean[:, 1], rtol=1e-10)
    square = np.einsum("nk,nkab->nab", w, cov + mean[..., None] * mean[..., None, :])
    np.testing.assert_allclose(whole, square - middle[..., None] * middle[:, None], rtol=1e-7, atol=1e-9)


def test_criteria_count_persons_and_icl_adds_what_memberships_leave_open(fit):
    p, w = fit.n_parameters, fit.predict_proba()
    assert fit.aic == pytest.approx(fit.minus2ll + 2 * p, rel=1e-12)
    assert fit.bic == pytest.approx(fit.minus2ll + p * np.log(40), rel=1e-12)
    assert fit.sabic == pytest.approx(fit.minus2ll + p * np.log(42 / 24), rel=1e-12)
    assert fit.icl == pytest.approx(fit.bic - 2 * xlogy(w, w).sum(), rel=1e-12) and fit.icl > fit.bic + 0.1


def test_a_row_of_the_optima_tells_its_classes_the_largest_first_in_the_users_units(fit):
    row, first = fit.optima.iloc[0], np.argsort(-fit.class_sizes)
    np.testing.assert_allclose(row.sizes, fit.class_sizes[first], atol=1e-4)
    np.testing.assert_allclose(row.shapes, fit.parameters.shape[first, 0], rtol=1e-9)
    psi = fit.parameters.chol @ np.swapaxes(fit.parameters.chol, 1, 2)
    spread = np.sqrt(np.diagonal(psi, axis1=1, axis2=2))
    least = np.linalg.eigvalsh(psi / spread[:, None] / spread[..., None])[:, 0]
    np.testing.assert_allclose(row.eigenvalues, least[first], rtol=1e-9)
    assert abs(least[0] - least[1]) > 0.1 and (row.starts, row.polish) == (2, 1)


def test_what_was_missing_is_missing_in_what_is_drawn(fit):
    y = fit.data.y.copy()
    y[3, 1:4] = np.nan
    drawn = replace(fit, data=replace(fit.data, y=y)).redrawn(jax.random.key(0))
    np.testing.assert_array_equal(np.isnan(drawn.y), np.isnan(y))
