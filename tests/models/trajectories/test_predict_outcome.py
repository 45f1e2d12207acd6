"""Predicted outcomes are those of dense linear algebra, errors those of differences, and rows keep their places."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from lawful.errors import LawfulError
from lawful.inference.results.collect import from_chains
from lawful.models.trajectories import Measured, TrajectoryMixture, unpack
from lawful.models.trajectories.fitting.boundaries import Finding
from lawful.models.trajectories.likelihood.expected_outcomes import expected_outcomes
from lawful.models.trajectories.model.reports import ordered
from lawful.models.trajectories.model.scaling import in_user_units
from lawful.models.trajectories.reading.prediction_grid import grid_of

from . import truth
from .test_posterior import CHAINS, DRAWS, draws, frame, posterior

TIMES = np.array([0.0, 1.3, 2.9])
NORMAL_90 = norm.ppf(0.95)


@pytest.mark.rest_slow
@pytest.mark.parametrize("model", truth.MODELS, ids=str)
def test_moments_of_outcomes_are_those_of_dense_covariances(model):
    """Persons with all, some and none of their outcomes seen."""
    (y, t, gate, growth), _, free = truth.case(model, missing=0.3)
    y[0] = np.nan
    seen = truth.panel(y, t, gate, growth)
    with jax.enable_x64(True):
        at = jax.tree.map(lambda leaf: leaf[..., 0], unpack(free, model, truth.BOUNDS))
        found = expected_outcomes(at, seen, jnp.asarray(TIMES / 3), model)
    _, joint, scores = truth.dense(model, free, (y, t, gate, growth))
    weights = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
    np.testing.assert_allclose(found.weights, weights, rtol=1e-10)
    change = truth.to_rows(model.curve)[: model.form.q, : model.form.q]
    for i in range(len(y)):
        for k in range(model.n_classes):
            g = float(at.shape[k, 0]) if model.form.shape else 0.0
            loads = truth.rows(model.curve, TIMES / 3, g)
            if model.intrinsic:
                loads = np.c_[truth.extra(model.curve, TIMES / 3, g, change @ at.mean[k]), loads]
            if not np.isfinite(y[i]).any():
                big = np.eye(model.n_factors)
                big[-model.form.q :, -model.form.q :] = change
                centre = np.r_[[0.0] * model.intrinsic, change @ at.mean[k]] + big @ np.asarray(at.slope[k]) @ growth[i]
                mean, cov = centre, big @ at.chol[k] @ at.chol[k].T @ big.T
            else:
                mean, cov = scores[i][k]
            np.testing.assert_allclose(found.mean[i, k], loads @ mean, rtol=1e-10, atol=1e-10)
            expected = np.einsum("ma,ab,mb->m", loads, cov, loads)
            np.testing.assert_allclose(found.variance[i, k], expected, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found.marginal, np.einsum("nk,nkm->nm", weights, found.mean), rtol=1e-12)


def known_outcomes(fit, free, x):
    """Lines of both classes and their mixture at covariates (r,), by hand from a free vector: (r, 3, m)."""
    at = ordered(in_user_units(unpack(free, fit.model, fit.problem.bounds), fit.model, fit.scaling), fit.order)
    gate, mean = np.asarray(at.gate), np.asarray(at.mean)
    odds = np.exp(np.c_[np.ones(len(x)), x] @ gate.T)
    share = odds / odds.sum(axis=1, keepdims=True)
    lines = np.broadcast_to(mean[:, :1] + mean[:, 1:] * TIMES, (len(x), 2, len(TIMES)))
    return np.concatenate([lines, np.einsum("rk,rkm->rm", share, lines)[:, None]], axis=1)


@pytest.mark.slow
def test_a_fit_predicts_lines_with_errors_of_differences_and_mixtures_of_normals(two_lines):
    _, fit, _ = two_lines
    x = np.array([-1.0, 0.0, 2.0])
    found = fit.predict_outcome(TIMES, {"x": x}, level=0.9)
    with jax.enable_x64(True):
        known = known_outcomes(fit, fit.free, x)
        steps = 1e-5 * np.eye(len(fit.free))
        slopes = np.stack(
            [(known_outcomes(fit, fit.free + d, x) - known_outcomes(fit, fit.free - d, x)) / 2e-5 for d in steps],
            axis=-1,
        )
    error = np.sqrt(np.einsum("rkmp,pq,rkmq->rkm", slopes, fit.standard_errors.of_free, slopes))
    told = np.concatenate([found.by_class, found.marginal[:, None]], axis=1)
    np.testing.assert_allclose(told[..., 0], known, rtol=1e-10)
    np.testing.assert_allclose(told[..., 0] - told[..., 1], NORMAL_90 * error, rtol=1e-6)
    np.testing.assert_allclose(told[..., 2] - told[..., 0], NORMAL_90 * error, rtol=1e-6)
    np.testing.assert_allclose(found.by_class[0], fit.curves(TIMES, 0.9), rtol=1e-9)
    at, loads = fit.parameters, np.stack([np.ones(3), TIMES])
    between = np.einsum("qm,kqr,krs,sm->km", loads, at.chol, np.swapaxes(at.chol, 1, 2), loads)
    for kind, more in (("curve", 0.0), ("outcome", at.noise[:, None])):
        around = np.sqrt(between + more + error[:, :2] ** 2)
        wide = fit.predict_outcome(TIMES, {"x": x}, level=0.9, interval=kind)
        np.testing.assert_allclose(wide.by_class[..., 2] - known[:, :2], NORMAL_90 * around, rtol=1e-6)
        for end, probability in ((1, 0.05), (2, 0.95)):
            below = norm.cdf(wide.marginal[:, None, :, end], known[:, :2], around)
            share = np.einsum("rk,rkm->rm", wide.probabilities, below)
            np.testing.assert_allclose(share, probability, rtol=1e-6)
    table = found.frame()
    assert list(table["class"].unique()) == [1, 2, "all"] and len(table) == 3 * 3 * 3
    np.testing.assert_array_equal(table["mean"].to_numpy().reshape(3, 3, 3), told[..., 0])


@pytest.mark.slow
def test_persons_have_their_own_curves_and_rows_their_own_residuals(two_lines):
    data, fit, _ = two_lines
    found = fit.predict_outcome(np.arange(4.0), data={name: column[:7] for name, column in data.items()})
    scores, w = fit.factor_scores()[0][:7], fit.predict_proba()[:7]
    curves = scores[..., :1] + scores[..., 1:] * np.arange(4.0)
    np.testing.assert_allclose(found.by_class[..., 0], curves, rtol=1e-9)
    np.testing.assert_allclose(found.marginal[..., 0], np.einsum("nk,nkm->nm", w, curves), rtol=1e-9)
    np.testing.assert_allclose(fit.fitted_values()[:7], found.marginal[..., 0], rtol=1e-9)
    np.testing.assert_array_equal(fit.residuals(), fit.data.y - fit.fitted_values())
    alone = fit.predict_outcome(np.arange(4.0), {"x": data["x"]})
    np.testing.assert_allclose(fit.fitted_values(outcomes=False), alone.marginal[..., 0], rtol=1e-9)
    rng = np.random.default_rng(0)
    order = rng.permutation(80 * 4)
    y, t = (np.stack([data[f"{name}{j}"] for j in range(1, 5)], axis=1) for name in "YT")
    rows = {"id": np.repeat(np.arange(80), 4), "y": y.ravel(), "t": t.ravel(), "x": np.repeat(data["x"], 4)}
    rows = {name: column[order] for name, column in rows.items()}
    long = TrajectoryMixture(2, "LIN", n_starts=4).fit(rows, "y", "t", id="id", gate="x")
    np.testing.assert_allclose(long.fitted_values(), fit.fitted_values().ravel()[order], rtol=1e-4)
    np.testing.assert_array_equal(long.residuals(), rows["y"] - long.fitted_values())


def test_what_depends_on_a_refused_error_has_no_interval(two_lines):
    """As of a singular covariance: mean curves do not know it, curves of persons do."""
    data, fit, _ = two_lines
    edge, places = replace(fit), tuple(fit.model.places("chol")[fit.order[0]].tolist())
    vars(edge)["boundary"] = [Finding(1, "psi", 0.0, places, "singular")]
    told = edge.predict_outcome(TIMES, {"x": 0.5})
    assert np.isfinite(told.by_class).all() and np.isfinite(told.marginal).all()
    own = edge.predict_outcome(TIMES, data={name: column[:3] for name, column in data.items()})
    assert np.isnan(own.by_class[:, 0, :, 1:]).all() and np.isfinite(own.by_class[:, 1]).all()
    assert np.isfinite(own.marginal[..., 0]).all() and np.isnan(own.marginal[..., 1:]).all()


@pytest.mark.slow
def test_a_posterior_predicts_means_over_draws_and_mixtures(monkeypatch):
    found = posterior(monkeypatch, from_chains(draws(vague=True)))
    p = jax.tree.map(lambda leaf: leaf.reshape(CHAINS * DRAWS, *leaf.shape[2:]), found.parameters)
    g, e = np.array([0.5, -1.0]), np.array([4.0, 6.0])
    loads, share, mean, spread = np.stack([np.ones(3), TIMES]), [], [], []
    for d in range(CHAINS * DRAWS):
        own = norm.logpdf(e[:, None], p.x_mean[d, :, 0], np.abs(p.x_chol[d, :, 0, 0]))
        odds = np.exp(np.c_[np.ones(2), g] @ p.gate[d].T + own)
        share.append(odds / odds.sum(axis=1, keepdims=True))
        mean.append((p.mean[d] + p.slope[d, :, :, 0] * e[:, None, None]) @ loads)
        root = np.swapaxes(p.chol[d], 1, 2) @ loads
        spread.append(np.sqrt(np.sum(root**2, axis=1) + p.noise[d][:, None]))
    share, mean, spread = map(np.stack, (share, mean, spread))  # (D, r, K), (D, r, K, m), (D, K, m)
    told = found.predict_outcome(TIMES, {"g": g, "e": e}, level=0.9)
    marginal = np.einsum("drk,drkm->drm", share, mean)
    np.testing.assert_allclose(told.marginal[..., 0], marginal.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(told.marginal[..., 1:], np.moveaxis(np.quantile(marginal, [0.05, 0.95], 0), 0, -1))
    np.testing.assert_allclose(told.by_class[..., 2], np.quantile(mean, 0.95, axis=0), rtol=1e-10)
    np.testing.assert_allclose(told.probabilities, share.mean(axis=0), rtol=1e-10)
    wide = found.predict_outcome(TIMES, {"g": g, "e": e}, level=0.9, interval="outcome")
    below = norm.cdf(wide.marginal[None, :, None, :, 2], mean, spread[:, None])
    np.testing.assert_allclose(np.einsum("drk,drkm->rm", share, below) / len(share), 0.95, rtol=1e-9)
    np.testing.assert_allclose(norm.cdf(wide.by_class[..., 1], mean, spread[:, None]).mean(axis=0), 0.05, rtol=1e-9)
    np.testing.assert_allclose(found.predict_proba(frame()[0]), found.predict_proba(), rtol=1e-9)
    curves = found.person_curves(TIMES, [4, 1])
    own = found.predict_outcome(TIMES, data=found.data, interval="curve")
    np.testing.assert_allclose(own.marginal[[4, 1]], curves, rtol=1e-12)
    place = (3, 2)  # a person and a wave
    at = found.predict_outcome(found.data.t[3], data=found.data).marginal
    assert found.fitted_values()[place] == pytest.approx(at[place][0], rel=1e-10)
    assert np.isnan(found.residuals()[2, 1]) and np.isfinite(found.residuals()).sum() == 53


def test_time_varying_covariates_are_given_by_the_time_and_the_rest_once_a_person():
    nothing, x = np.zeros((3, 2)), np.arange(3.0)[:, None]
    like = Measured(
        np.arange(3), nothing, nothing, x, x, ("g",), ("e",), varying=np.zeros((3, 2, 1)), varying_names=("v",)
    )
    for value, expected in ((2.0, [[2, 2, 2]] * 2), ([1.0, 2.0, 3.0], [[1, 2, 3]] * 2), ([[4.0] * 3, [5.0] * 3], None)):
        grid = grid_of(TIMES, {"g": [0.0, 1.0], "e": 7.0, "v": value}, None, like)
        np.testing.assert_array_equal(grid.varying[..., 0], value if expected is None else expected)
    assert grid.read.growth.tolist() == [[7.0], [7.0]] and grid.read.gate.tolist() == [[0.0], [1.0]]
    assert grid_of(TIMES, None, None, like).varying.tolist() == [[[0.0]] * 3]
    for asked, named in (
        ({"covariates": {"g": 1.0}}, r"\['e'\] missing"),
        ({"covariates": {"G": 1.0}}, "no covariate 'G'"),
        ({"covariates": {"g": [1.0, 2.0], "e": [1.0, 2.0, 3.0]}}, "for as many persons"),
        ({"covariates": {"g": "high", "e": 0.0}}, "'g' is 'high'"),
        ({"covariates": {"g": 0.0, "e": 0.0, "v": [1.0, 2.0]}}, "one a time"),
        ({"covariates": {"g": 0.0}, "data": like}, "where a person's covariates stand"),
        ({"times": [np.nan]}, "times is an array"),
    ):
        with pytest.raises(LawfulError, match=named) as error:
            grid_of(**{"times": TIMES, "covariates": None, "data": None, "like": like} | asked)
        assert "Fix:" in str(error.value)


@pytest.mark.slow
@pytest.mark.optimised
def test_intervals_of_means_cover_the_truth_and_those_of_outcomes_new_persons():
    """200 data sets of 60 persons, one class: 95 % of each; less than 178 or all 200 have probability 3e-4."""
    rng, t, inside = np.random.default_rng(7), np.arange(4.0), []
    model = TrajectoryMixture(1, "LIN", n_starts=1)
    for _ in range(200):
        y = 3.0 + 1.5 * rng.normal(size=(61, 1)) + (1.0 + 0.5 * rng.normal(size=(61, 1))) * t
        y = y + rng.normal(size=y.shape)
        data = {f"Y{j + 1}": y[:60, j] for j in range(4)} | {f"T{j + 1}": np.full(60, t[j]) for j in range(4)}
        fit = model.fit(data, "Y", "T", range(1, 5))
        mean, new = (fit.predict_outcome([2.0], interval=kind).marginal[0, 0] for kind in ("mean", "outcome"))
        inside.append([mean[1] <= 5.0 <= mean[2], new[1] <= y[60, 2] <= new[2]])
    print("covered of 200:", np.sum(inside, axis=0))
    assert all(178 <= count < 200 for count in np.sum(inside, axis=0))
