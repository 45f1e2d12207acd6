"""A posterior of given draws: names that draws and chains had change nothing, units are the user's, ArviZ reads it."""

import warnings
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lawful.errors import LawfulError
from lawful.inference.results.collect import from_chains, from_population
from lawful.models.trajectories import (
    Priors,
    TrajectoryMixture,
    checked,
    estimator,
    log_likelihood_by_person,
    panel,
    replicated,
)
from lawful.models.trajectories.posterior.priors import usable_priors

CHAINS, DRAWS, N = 3, 12, 18
COLUMNS = {"y_var": "size", "t_var": "T", "records": [1, 2, 3], "gate": ["g"], "growth": ["e"]}


def frame(seed=0):
    """Three classes of lines far apart, with a covariate of the gate and one of growth; a gap in the outcomes."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1, 2], [4, 6, 8])
    t = np.array([0.0, 3.0, 7.0]) + 0.2 * rng.uniform(size=(N, 3))
    g, e = rng.normal(size=N), 5.0 + 4.0 * rng.normal(size=N)
    y = 300.0 + 20.0 * (np.array([-6.0, 0.0, 6.0])[label] + 0.1 * e + 0.3 * rng.normal(size=N))[:, None]
    y = y + 5.0 * t + 4.0 * rng.normal(size=(N, 3))
    y[2, 1] = np.nan
    data = {f"size{j + 1}": y[:, j] for j in range(3)} | {f"T{j + 1}": t[:, j] for j in range(3)}
    return data | {"g": g, "e": e}, label


def draws(vague=False, seed=1):
    """Values of the sites in standard units, classes named alike in all draws; vague ones hardly tell classes apart."""
    rng = np.random.default_rng(seed)

    def near(centre, spread=0.03):
        centre = np.asarray(centre, float)
        return centre + spread * rng.normal(size=(CHAINS, DRAWS, *centre.shape))

    root = np.zeros((CHAINS, DRAWS, 3, 2, 2))
    root[..., 0, 0], root[..., 1, 0] = 1.0, near([0.1, 0.0, -0.1])
    root[..., 1, 1] = np.sqrt(1 - root[..., 1, 0] ** 2)
    gate = near(np.array([[-0.3, 0.0, 0.3], [0.5, -0.1, -0.4]]).T)
    gate = np.swapaxes(gate - gate.mean(axis=2, keepdims=True), 2, 3)
    return {
        "mean": near(np.zeros((3, 2)), 0.8) if vague else near([[-1.2, 0.3], [0.0, 0.35], [1.2, 0.4]]),
        "spread": np.abs(near([[0.8, 0.5]] * 3, 0.1) if vague else near([[0.1, 0.1]] * 3, 0.01)),
        "gate": gate, "root": root, "noise": np.abs(near([0.04, 0.05, 0.06], 0.003)),
        "effect": near([[[0.04], [0.0]]] * 3, 0.01),
        "x_mean": near([[0.1], [0.0], [-0.1]]), "x_spread": np.abs(near([[1.0]] * 3)),
    }  # fmt: skip


def renamed(sites, order):
    """Rename the classes of each draw by an order (chain, draw, K)."""
    found = {}
    for name, array in sites.items():
        axis = 3 if name == "gate" else 2
        index = np.expand_dims(order, [2] if name == "gate" else [*range(3, array.ndim)])
        found[name] = np.take_along_axis(array, np.broadcast_to(index, array.shape), axis)
    return found


def posterior(monkeypatch, result, classes=3, curve="LIN", data=None, columns=COLUMNS):
    """What `bayes` makes of an outcome of the inference."""
    with monkeypatch.context() as patch:
        patch.setattr(estimator, "sampled", lambda *_: result)
        return TrajectoryMixture(classes, curve).bayes(data or frame()[0], **columns, key=0)


@pytest.fixture(scope="module")
def found():
    with pytest.MonkeyPatch.context() as patch:
        yield posterior(patch, from_chains(draws(), stats={"lp": np.arange(CHAINS * DRAWS).reshape(CHAINS, DRAWS)}))


def told(posterior):
    """All that is told of a posterior by names of classes or without, as arrays that no order of draws decides."""
    return {
        "estimates": posterior.estimates().drop(columns=["class", "parameter", "meaning", "flag"]).to_numpy(),
        "memberships": posterior.predict_proba(), "intervals": posterior.class_intervals(),
        "pairs": posterior.co_membership(), "occupied": posterior.occupied(), "curves": posterior.curves([0.0, 4.0]),
        "sorted": posterior.sorted_functionals().drop(columns="functional").to_numpy(),
        "sizes": posterior.sizes.mean(axis=(0, 1)), "sum": posterior.log_likelihood_by_person.sum(),
    }  # fmt: skip


@pytest.mark.slow
@settings(max_examples=8)
@given(seed=st.integers(0, 10_000), vague=st.booleans())
def test_t12_names_of_three_classes_in_each_draw_and_the_order_of_draws_and_chains_change_nothing(found, seed, vague):
    found, rng = replace(found, result=from_chains(draws(vague))), np.random.default_rng(seed)
    order = np.argsort(rng.uniform(size=(CHAINS, DRAWS, 3)), axis=2)
    moved, chains, places = renamed(found.result.posterior, order), rng.permutation(CHAINS), rng.permutation(DRAWS)
    other = replace(found, result=from_chains({name: each[chains][:, places] for name, each in moved.items()}))
    one, two = told(found), told(other)
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.slow
def test_classes_named_anew_in_each_chain_are_put_together_and_chains_then_agree(found):
    """Chains of one posterior that call its classes otherwise: r-hat of the raw draws is huge, and says nothing."""
    order = np.broadcast_to(np.array([[0, 1, 2], [1, 2, 0], [2, 1, 0]])[:, None], (CHAINS, DRAWS, 3))
    other = replace(found, result=from_chains(renamed(found.result.posterior, order)))
    np.testing.assert_allclose(other.values, found.values, rtol=1e-9)
    worst = max(f.value for f in other.result.reasons if f.code == "HIGH_RHAT")
    own = max((f.value for f in other.reasons if f.code == "HIGH_RHAT"), default=1.0)
    assert worst > 2 > 1.5 > own
    apart = {name: each.copy() for name, each in found.result.posterior.items()}
    apart["mean"][0, :, :, 1] += 1.0  # a chain in another mode
    bad = replace(found, result=from_chains(apart))
    said = next(f.message for f in bad.reasons if f.code == "HIGH_RHAT")
    assert not bad.ok and "mueta1, class" in said and "method='smc'" in said and "HIGH_RHAT" in repr(bad)


def test_likelihood_and_evidence_are_those_of_the_data_as_given_in_the_joint_variant_too(found, monkeypatch):
    """By the parameters that are told, in the user's units; the evidence differs from the standard one by as much."""
    data, _ = frame()
    arrays = [np.stack([data[f"{name}{j}"] for j in (1, 2, 3)], axis=1) for name in ("size", "T")]
    own = panel(*arrays, data["g"][:, None], data["e"][:, None])
    at = jax.tree.map(lambda leaf: jnp.asarray(leaf[1, 7])[..., None], found.parameters)
    truth = log_likelihood_by_person(at, own, found.model, float(found.at.width * found.scaling.t_scale))
    np.testing.assert_allclose(found.log_likelihood_by_person[1, 7], truth, rtol=1e-10)
    weights = np.zeros((CHAINS, DRAWS))
    smc = from_population(draws(), weights, [-3.0, -2.0, -2.5], draws=draws())
    smc = posterior(monkeypatch, smc)
    moved = np.logaddexp.reduce(found._joint, axis=2).sum() - found.log_likelihood_by_person.sum()
    np.testing.assert_allclose(smc.log_evidence_by_run, np.array([-3.0, -2.0, -2.5]) - moved / (CHAINS * DRAWS))
    curve = found.parameters.mean @ np.array([1.0, 4.0])
    np.testing.assert_allclose(found.curves([4.0])[:, 0, 0], curve.mean(axis=(0, 1)), rtol=1e-10)
    np.testing.assert_allclose(found.curves([4.0], 0.5)[:, 0, 1:].T, np.quantile(curve, [0.25, 0.75], axis=(0, 1)))
    statistics = smc.to_datatree()["sample_stats_smc"]
    np.testing.assert_allclose(statistics["log_evidence"], smc.log_evidence_by_run)
    assert float(statistics["log_evidence_pooled"]) == pytest.approx(smc.log_evidence)
    assert np.isnan(found.log_evidence) and "sample_stats_smc" not in found.to_datatree().children


def test_arviz_reads_the_tree_without_a_warning_and_columns_named_like_parameters_stay_apart(found):
    az = pytest.importorskip("arviz_stats")
    tree = found.to_datatree(predictive=9, key=1)
    assert tree["observed_data"]["size_column"].dims == ("person", "wave")
    assert tree["posterior"]["size"].dims == ("chain", "draw", "class")
    assert list(tree["posterior"]["compared_class"].values) == [2, 3]
    again = tree["posterior_predictive"]["size_column"]
    assert again.shape == (CHAINS, 3, N, 3) and list(again["draw"].values) == [0, 6, DRAWS - 1]
    assert np.isnan(again.values[:, :, 2, 1]).all() and np.isnan(again.values).sum() == CHAINS * 3
    assert tree["sample_stats"]["lp"].shape == (CHAINS, DRAWS)
    table = az.summary(tree)  # warnings are errors
    assert np.isfinite(table["r_hat"].astype(float)).all() and "gate[2, g]" in table.index
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few draws say little of a tail
        assert az.loo(tree, pointwise=True).n_data_points == N
        assert len(az.psense_summary(tree)) == len(table)


def test_settings_that_cannot_be_are_refused_before_anything_is_drawn(found):
    data, _ = frame()
    model = TrajectoryMixture(2, "LIN")
    bad = (("level", -1.0), ("gate", np.nan), ("knot", [1.0, 2.0]), ("noise", "big"))
    wrong = [
        ({"length": 0}, "length=0"), ({"particles": "many"}, "particles='many'"), ({"runs": True}, "runs=True"),
        ({"ladder": 1.5}, "ladder=1.5"), ({"step_size": [0.1]}, "step_size"), ({"leapfrogs": 2.5}, "leapfrogs=2.5"),
        ({"method": "nuts", "draws": 0}, "draws=0"), ({"method": "nuts", "select": "horseshoe"}, "goes with"),
        ({"key": "a"}, "key"),
        *(({"priors": Priors(**{name: value})}, f"priors.{name}=") for name, value in bad),
    ]  # fmt: skip
    for settings_, named in wrong:
        with pytest.raises(LawfulError, match=named):
            model.bayes(data, **COLUMNS, **{"key": 0, **settings_})
    with pytest.raises(LawfulError, match="expected scales of priors. Fix: give Priors"):
        usable_priors({"level": 1.0})
    plain = {name: value for name, value in COLUMNS.items() if name not in ("gate", "growth")}
    with pytest.raises(LawfulError, match="no covariates. Fix"):
        model.bayes(data, **plain, key=0, select="horseshoe")
    for classes in ([], [1, 1], [0, 1]):
        with pytest.raises(LawfulError, match="numbers of classes, each once. Fix"):
            model.compare_classes(data, classes, key=0, **COLUMNS)
    with pytest.raises(LawfulError, match="gives no evidence. Fix"):
        model.compare_classes(data, [1], key=0, settings={"method": "nuts"}, **COLUMNS)
    with pytest.raises(LawfulError, match="n_classes=19 and 18 persons"):  # before the smaller ones are looked at
        model.compare_classes(data, [1, 19], key=0, **COLUMNS)
    pairs = found.co_membership()
    np.testing.assert_array_equal(found.co_membership([4, 2]), pairs[np.ix_([4, 2], [4, 2])])
    for call in (found.estimates, found.class_intervals, found.sorted_functionals):
        with pytest.raises(LawfulError, match="level=95.0, expected a probability. Fix"):
            call(95.0)
    with pytest.raises(LawfulError, match="draws=0"):
        replicated(found, 0, 0)
    with pytest.raises(LawfulError, match="predictive=-1"):
        found.to_datatree(predictive=-1)


@pytest.mark.slow
def test_halving_the_smoothing_of_kinks_moves_the_knot_by_less_than_a_twentieth_of_its_sd(monkeypatch):
    """The posterior of the knot given all else, on a grid; all were seen at the same times, so kinks are sharpest."""
    rng, t = np.random.default_rng(4), np.linspace(0.0, 1.0, 5)
    level, early, late = (m + s * rng.normal(size=(40, 1)) for m, s in ((0.0, 0.5), (-1.0, 0.6), (2.0, 0.6)))
    u = t - 0.45
    y = level + early * np.minimum(u, 0) + late * np.maximum(u, 0) + 0.3 * rng.normal(size=(40, 5))
    y = (y - y.mean()) / y.std()
    data = {f"Y{j + 1}": y[:, j] for j in range(5)} | {f"T{j + 1}": np.full(40, t[j]) for j in range(5)}
    places = np.linspace(0.005, 0.995, 397)
    rest = {"mean": [[-0.4, -1.2, 2.4]], "spread": [[0.6, 0.7, 0.7]], "root": np.eye(3)[None], "noise": [0.36]}
    sites = {name: np.tile(np.asarray(value), (1, 397, *(1,) * np.ndim(value))) for name, value in rest.items()}
    result = from_chains({**sites, "place": places[None, :, None]})
    columns = {"y_var": "Y", "t_var": "T", "records": range(1, 6)}
    one = posterior(monkeypatch, result, 1, "BLS", data, columns)

    def moved(width):
        found = []
        for each in (width, 0.5 * width):
            own = replace(one, at=one.at._replace(width=each))
            density = (own.log_prior + own.log_likelihood_by_person.sum(axis=2))[0]
            weight = np.exp(density - density.max())
            mean = np.average(places, weights=weight)
            found.append((mean, np.sqrt(np.average((places - mean) ** 2, weights=weight))))
        return abs(found[0][0] - found[1][0]) / found[1][1]

    assert float(one.at.width) == pytest.approx(0.02 * 0.25)
    assert moved(one.at.width) < 0.05 < moved(40 * one.at.width)  # the second: the check has power


def test_times_far_from_nought_are_told_of_and_covariates_far_from_it_refused_where_factors_are_linearised(monkeypatch):
    data, _ = frame()
    late = data | {f"T{j}": data[f"T{j}"] + 40.0 for j in (1, 2, 3)}
    result = from_chains(draws())
    with pytest.warns(UserWarning, match="go from 40.* far from them.*Fix: take the times from a time among them"):
        posterior(monkeypatch, result, data=late)
    posterior(monkeypatch, result, columns=COLUMNS | {"center_time": "own_first"}, data=late)
    spline = posterior(monkeypatch, result, curve="BLS", data=late)  # its level is at the knot
    ends = np.array([float(end) for end in spline.at.knots]) * float(spline.scaling.t_scale)
    np.testing.assert_allclose(ends, np.quantile(spline.data.t[np.isfinite(spline.data.t)], [0.05, 0.95]))
    model = TrajectoryMixture(1, "EXP", intrinsic=True)
    with pytest.raises(LawfulError, match="growth covariate 'e' has mean 10.* Fix: subtract its mean"):
        model.bayes(data | {"e": data["e"] + 1000.0}, **COLUMNS, key=0)


def test_a_knot_needs_times_apart():
    y = np.random.default_rng(0).normal(size=(30, 3))
    t = np.ones((30, 3))
    t[0], t[1, 0] = [0.0, 1.0, 2.0], 3.0
    data = {f"Y{j + 1}": y[:, j] for j in range(3)} | {f"T{j + 1}": t[:, j] for j in range(3)}
    with pytest.raises(LawfulError, match="leaves a knot no room. Fix"):
        TrajectoryMixture(1, knot_bounds=None).bayes(data, "Y", "T", [1, 2, 3], key=0)


def test_a_statistic_of_a_wave_that_hardly_anyone_was_seen_at_is_not_known(found):
    y = found.data.y.copy()
    y[:, 2] = np.nan
    y[0, 2] = 1.0
    table = checked(replace(found, data=replace(found.data, y=y)), 0, 4).set_index(["statistic", "place"])
    for name, place in (("skewness", 3), ("correlation with the next", 2)):
        assert np.isnan(table.loc[(name, place), "probability"])
    assert table.loc[("mean", 1), "probability"] >= 0.0
