"""The best known fits of the reference data are found from random starts, with their errors, and edges are told."""

import functools

import jax
import numpy as np
import pytest

from lawful.errors import LawfulError
from lawful.models.trajectories import Design, TrajectoryMixture, simulate_trajectories
from lawful.models.trajectories.model.curves import curve_of
from lawful.models.trajectories.reading.column_words import NLPSEM
from lawful.models.trajectories.reading.settings import names_of

from . import published
from .conftest import columns

SLOW = pytest.mark.slow
VARIANTS = ["full", "expert", "gating", "plain"]
GATE, GROWTH = ["gx1", "gx2"], ["ex1", "ex2"]


def of_school(school, classes, gate=(), starts=32, seed=0, **settings):
    return TrajectoryMixture(classes, n_starts=starts, seed=seed, **settings).fit(
        school, y_var="M", t_var="T", records=range(1, 10), gate=list(gate)
    )


def of_demo(demo, variant="full", starts=8, seed=0, **settings):
    gate, growth = published.COVARIATES[variant]
    return TrajectoryMixture(2, n_starts=starts, seed=seed, **settings).fit(
        demo, y_var="Y", t_var="T", records=range(1, 11), gate=GATE if gate else [],
        growth=GROWTH if growth else [],
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.reference
@pytest.mark.parametrize(
    ("variant", "starts"),
    [("full", 2), *(pytest.param(variant, 8, marks=[SLOW, pytest.mark.optimised]) for variant in VARIANTS)],
)
def test_t1_likelihood_estimates_and_both_errors_are_those_of_mplus_and_openmx(demo, variant, starts):
    fit = of_demo(demo, variant, starts)
    assert fit.minus2ll == pytest.approx(published.MINUS2LL[variant], abs=1e-4)
    assert fit.replicated and not fit.boundary
    known = published.table(variant)
    found = fit.estimates().set_index(["class", "parameter"])
    rows = zip(zip(found.index, fit.rows, strict=True), found.itertuples(), strict=True)
    gates = 3 if published.COVARIATES[variant][0] else 1
    assert len(found) == len(known) == fit.n_parameters
    for i, ((place, _), row) in enumerate(rows):
        # Effects of covariates and odds have names alike; odds come last.
        label = place if i < fit.n_parameters - gates else (2, f"beta{i - fit.n_parameters + gates}")
        estimate, error, robust = known[label]
        assert abs(row.estimate - estimate) < 0.01 * error, place
        assert row.se == pytest.approx(error, rel=0.005, abs=6e-5), place
        assert row.se_robust == pytest.approx(robust, rel=0.005, abs=6e-5), place
    assert fit.standard_errors.factor == pytest.approx(published.FACTOR[variant], abs=1e-3)
    assert fit.entropy == pytest.approx(published.ENTROPY[variant], abs=6e-4)
    assert fit.accuracy(demo["class"]) == pytest.approx(published.ACCURACY[variant], abs=1e-9)
    levels = found.loc[[(1, "mueta0"), (2, "mueta0")], "estimate"].to_numpy()
    assert fit.mean_curves([0.0]).ravel() == pytest.approx(levels)
    names = fit.to_nlpsem_names()
    assert len(names) == fit.n_parameters and names["c1mug"] == pytest.approx(known[1, "mug"][0], abs=1e-4)
    if variant == "full":
        assert fit.bic == pytest.approx(23208.781, abs=1e-3) and fit.sabic == pytest.approx(23059.601, abs=1e-3)
        assert fit.kappa(of_demo(demo, variant, seed=1)) == 1.0
    assert "best value reached by" in fit.summary()


@pytest.mark.slow
@pytest.mark.reference
@pytest.mark.optimised
def test_the_file_of_rising_curves_has_its_reference_fit(data):
    """Section 12.2: numbers to their printed digits."""
    file = columns(data / "trajectories" / "sim_moe_bls_k2_n500.csv")
    fit = of_demo(file)
    assert fit.minus2ll == pytest.approx(23237.694990, abs=1e-4) and fit.bic == pytest.approx(23529.782, abs=1e-3)
    assert fit.replicated and not fit.boundary
    assert fit.entropy == pytest.approx(0.7913, abs=6e-5)
    assert fit.accuracy(file["class"]) == pytest.approx(0.948, abs=1e-9)
    turned = fit.to_nlpsem_names()["c1mug"] > fit.to_nlpsem_names()["c2mug"]
    place = (2, 1) if turned else (1, 2)  # of the classes as they are printed
    assert np.bincount(fit.predict())[list(place)].tolist() == [218, 282]
    assert fit.class_sizes[[place[0] - 1, place[1] - 1]] == pytest.approx([0.4441, 0.5559], abs=6e-5)
    assert fit.standard_errors.factor == pytest.approx(1.0498, abs=1e-3)
    found = fit.estimates().set_index(["class", "parameter"])
    printed = [line.split() for line in published.RISING.strip().splitlines()]
    for label, name, *numbers in printed:
        row, (estimate, error, robust) = found.loc[(place[int(label) - 1], name)], map(float, numbers)
        assert row.estimate == pytest.approx(estimate, abs=6e-5), (label, name)
        assert [row.se, row.se_robust] == pytest.approx([error, robust], abs=6e-4), (label, name)
    for label, variances in published.RISING_VARIANCES.items():
        rows = [found.loc[(place[label - 1], f"psi{i}{i}")].estimate for i in range(3)]
        assert rows == pytest.approx(variances, abs=6e-4)
    gate = fit.estimates().tail(3)
    sign = -1.0 if turned else 1.0
    for row, (estimate, error, robust) in zip(gate.itertuples(), published.RISING_GATE, strict=True):
        assert sign * row.estimate == pytest.approx(estimate, abs=6e-5)
        assert [row.se, row.se_robust] == pytest.approx([error, robust], abs=6e-4)


@pytest.mark.slow
@pytest.mark.reference
@pytest.mark.optimised
@pytest.mark.parametrize("curve", ["quadratic", "negative_exponential", "Jenss-Bayley"])
def test_files_of_other_curves_are_told_apart(data, curve):
    """Their truth is not published, the classes are."""
    short = curve_of(curve).name.lower()
    file = columns(data / "trajectories" / f"sim_moe_{short}_k2_n500.csv")
    fit = of_demo(file, curve=curve)
    print(curve, fit.minus2ll, fit.accuracy(file["class"]), fit.boundary)
    assert fit.optima.starts[0] >= 4 and fit.accuracy(file["class"]) > 0.8


@pytest.mark.slow
@pytest.mark.reference
@pytest.mark.optimised
def test_t3_one_class_has_the_knot_and_the_likelihood_of_the_peer(school):
    fit = of_school(school, 1, starts=8)
    assert fit.minus2ll == pytest.approx(31347.3926, abs=1e-3)
    knot = fit.to_nlpsem_names()["c1mug"]
    assert knot == pytest.approx(34.770, abs=1e-3)
    profile = fit.profile(1, [20.0, 33.0, knot])
    assert profile[0] > profile[1] > profile[2] == pytest.approx(fit.minus2ll, abs=1e-6)
    drawn = fit.simulate(jax.random.key(0)).y  # 500 persons, six standard errors
    assert abs(np.nanmean(drawn[:, 0]) - np.mean(school["M1"])) < 6 * np.std(school["M1"]) * (2 / 500) ** 0.5
    assert np.isnan(fit.entropy)


@pytest.mark.slow
@pytest.mark.reference
@pytest.mark.optimised
def test_t2_and_t16_two_classes_beat_the_peer_and_the_edge_is_told(school):
    """The published solution is 36.8 units worse; the best has a singular covariance and a knot on an observed time."""
    fit = of_school(school, 2)
    assert fit.minus2ll == pytest.approx(31134.5946, abs=1e-3)
    optima = fit.optima
    assert np.any(np.abs(optima.minus2ll - 31135.1797) < 1e-3)  # the runner-up is told
    assert fit.class_sizes == pytest.approx([0.745, 0.255], abs=1e-3)
    kinds = {(finding.label, finding.kind) for finding in fit.boundary}
    assert kinds == {(2, "psi"), (2, "kink")}
    found = fit.estimates()
    refused = found[found.flag == "refused"]
    assert set(refused["class"]) == {2} and set(refused.parameter.str[:3]) == {"psi", "mug"}
    assert np.isfinite(found[found.flag == ""][["estimate", "se", "se_robust"]]).all(axis=None)
    assert all("class 2" in message and "emedy" in message for message in fit.standard_errors.refused)


@SLOW
@pytest.mark.reference
@pytest.mark.optimised
@pytest.mark.parametrize(
    ("classes", "gate", "known"),
    [(3, [], 31008.2319), (2, ["INCOME", "EDU"], 31064.8718), (3, ["INCOME", "EDU"], 30928.3047)],
)
def test_t2_three_classes_and_gated_ones_reach_the_best_known(school, classes, gate, known):
    fit = of_school(school, classes, gate)
    assert fit.minus2ll == pytest.approx(known, abs=1e-3)
    assert bool(fit.boundary) == (not gate)


@pytest.mark.slow
@pytest.mark.optimised
def test_t10_wide_and_long_frames_gaps_and_the_order_of_persons_are_one_fit():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    drawn = simulate_trajectories(jax.random.key(3), n=80, waves=5, missing=0.2).data
    model = TrajectoryMixture(1, "LIN", n_starts=2)
    wide = model.fit(drawn, y_var="Y", t_var="T", records=range(1, 6), growth=["ex1"])
    rows = [
        {"id": i, "t": drawn[f"T{j}"][i], "y": drawn[f"Y{j}"][i], "ex1": drawn["ex1"][i]}
        for j in range(5, 0, -1) for i in range(80) if np.isfinite(drawn[f"Y{j}"][i])
    ]  # fmt: skip
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    for frame in (pandas.DataFrame(columns), polars.DataFrame(columns)):
        long = model.fit(frame, id="id", y_var="y", t_var="t", growth=["ex1"])
        assert long.minus2ll == pytest.approx(wide.minus2ll, rel=1e-10)
        np.testing.assert_allclose(long.values, wide.values, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"curve": "CUBIC"}, "CUBIC"),
        ({"knot": "spline"}, "knot"),
        ({"penalty": 1.0}, "penalty"),
        ({"penalty": "pooled", "pooling": -1.0}, "pooling=-1.0"),
        ({"pooling": "much"}, "pooling='much'"),
        ({"n_classes": 0}, "n_classes"),
        ({"n_starts": 0}, "n_starts"),
        ({"curve": "QUAD", "intrinsic": True}, "no shape parameter"),
        ({"knot_bounds": (3, 1)}, "knot_bounds"),
        ({"reference": 3}, "reference"),
        ({"seed": None}, "seed"),
        ({"intrinsic": "no"}, "intrinsic"),
        ({"smoothing": np.array(["on", "off"])}, "smoothing"),
        ({"knot_bounds": 3.0}, "knot_bounds"),
        ({"knot_bounds": ("a", "b")}, "knot_bounds"),
    ],
)
def test_wrong_settings_are_refused_before_any_work(settings, named):
    with pytest.raises(LawfulError, match=named) as error:
        TrajectoryMixture(**settings).fit({}, y_var="Y", t_var="T", records=[1])
    assert "Fix:" in str(error.value)


def test_more_classes_than_persons_and_fewer_times_than_growth_factors_are_refused():
    few = {"Y1": [1.0, 2.0], "Y2": [2.0, 4.0], "T1": [0.0, 0.0], "T2": [1.0, 1.0]}
    for settings, named in (
        ({"n_classes": 3}, "2 persons"),
        ({"n_classes": 1}, "2 different times"),
        ({"n_classes": 1, "curve": "EXP"}, "2 growth factors and a rate"),
    ):
        with pytest.raises(LawfulError, match=named) as error:
            TrajectoryMixture(**settings).fit(few, y_var="Y", t_var="T", records=[1, 2])
        assert "Fix:" in str(error.value)


def test_bounds_of_knots_outside_the_times_are_refused(one_class):
    columns = {f"Y{j + 1}": one_class.data.y[:, j] for j in range(5)}
    columns |= {f"T{j + 1}": one_class.data.t[:, j] for j in range(5)}
    for bounds in ((10, 20), (-5, 3), (1, 4.5)):  # beyond the times a slope would drop out of the model
        with pytest.raises(LawfulError, match="times go from 0 to 4"):
            TrajectoryMixture(1, knot_bounds=bounds).fit(columns, y_var="Y", t_var="T", records=range(1, 6))


@pytest.mark.slow
def test_the_origin_of_time_moves_no_line_and_makes_no_edge(two_lines):
    """The year 2010 in place of 0: one likelihood and regular covariances, though level and slope at 0 are one."""
    data, _, plain = two_lines
    late = data | {f"T{j}": data[f"T{j}"] + 2010.0 for j in range(1, 5)}
    fit = TrajectoryMixture(2, "LIN", n_starts=4).fit(late, y_var="Y", t_var="T", records=range(1, 5))
    assert fit.minus2ll == pytest.approx(plain.minus2ll, abs=1e-4) and not fit.boundary
    np.testing.assert_allclose(fit.optima.eigenvalues[0], plain.optima.eigenvalues[0], rtol=1e-2)
    np.testing.assert_allclose(fit.mean_curves([2010.0, 2013.0]), plain.mean_curves([0.0, 3.0]), rtol=1e-3)


@pytest.mark.parametrize("curve", ["EXP", "JB", "QUAD"])
def test_curves_are_refused_where_their_bend_is_out_of_sight(two_lines, curve):
    late = two_lines[0] | {f"T{j}": two_lines[0][f"T{j}"] + 2010.0 for j in range(1, 5)}
    with pytest.raises(LawfulError, match="from 2010 to 2013, far from 0.*Fix: subtract"):
        TrajectoryMixture(1, curve).fit(late, y_var="Y", t_var="T", records=range(1, 5))


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        (lambda: {"t_var": "Y"}, "both 'Y'"),
        (lambda: {"start": {"mean": 1.0}}, "start is a dict, expected Parameters"),
        (lambda: {"start": Design().parameters}, r"start.gate has shape \(2, 3\), expected \(1, 1\)"),
    ],
)
def test_wrong_columns_and_starts_are_refused_before_any_climb(two_lines, columns, named):
    with pytest.raises(LawfulError, match=named) as error:
        named_columns = {"y_var": "Y", "t_var": "T", "records": range(1, 5)} | columns()
        TrajectoryMixture(1, "LIN").fit(two_lines[0], **named_columns)
    assert "Fix:" in str(error.value)


@pytest.mark.parametrize("call", ["fit", "fit_predict", "bayes"])
@pytest.mark.parametrize(("theirs", "ours"), NLPSEM.items())
def test_a_word_of_nlpsem_is_the_word_beside_it_and_both_are_refused(two_lines, call, theirs, ours):
    columns = {"y_var": "Y", "t_var": "T", "records": range(1, 5)} | ({"key": 0} if call == "bayes" else {})
    ask = functools.partial(getattr(TrajectoryMixture(1, "LIN"), call), two_lines[0], **columns)
    for word in (theirs, ours):
        with pytest.raises(LawfulError, match="no column 'nowhere"):
            ask(**{word: "nowhere"})
    with pytest.raises(LawfulError, match=f"{ours}= and {theirs}= are one. Fix"):
        ask(**{theirs: "nowhere", ours: "nowhere"})


def test_one_person_is_refused_and_no_covariates_may_be_said_as_none(two_lines):
    data, _, plain = two_lines
    one = {name: column[:1] for name, column in data.items()}
    with pytest.raises(LawfulError, match="gate=3, expected names"):
        names_of(3, "gate")
    given = {"y_var": "Y", "t_var": "T", "records": range(1, 5), "gate": None, "growth": None}
    with pytest.raises(LawfulError, match="one person alone"):
        TrajectoryMixture(1, "LIN").fit(one, **given)
    fit = TrajectoryMixture(2, "LIN", n_starts=0).fit(data, **given, start=plain.parameters)
    assert fit.minus2ll == pytest.approx(plain.minus2ll, abs=1e-6)


def test_settings_are_read_and_changed_by_name():
    model = TrajectoryMixture(3).set_params(n_starts=5)
    assert model.get_params()["n_classes"] == 3 and model.n_starts == 5
    with pytest.raises(LawfulError, match="no setting"):
        model.set_params(classes=2)
