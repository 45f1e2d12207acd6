"""Posteriors with time-varying covariates: prior by scipy, density by brute force, units, names and evidence."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lawful import handlers, inference
from lawful.models.trajectories import (
    Model,
    Priors,
    TrajectoryMixture,
    Varying,
    draw_parameters,
    log_likelihood_by_person,
    panel,
    parameters_of,
    replicated,
    sites_of,
    trajectory_mixture,
)
from lawful.models.trajectories.posterior.bayes import Posed, posterior_program

from .test_bayes import SMALL, WIDE, lines
from .test_priors import ALPHA, KNOTS, drawn

JOINT = Model("LIN", 2, p_varying=2, waves=3)
OWN = ("direct", "v_mean", "v_spread")


def few(model, n=4):
    """Outcomes with a gap, times, covariates, and the panel of them."""
    rng = np.random.default_rng(4)
    y, t, x = rng.normal(size=(n, 3)), np.sort(rng.uniform(size=(n, 3))), rng.normal(size=(n, 3, model.p_varying))
    y[1, 2] = np.nan
    return y, t, x, panel(y, t, varying=x)


def brute(at, model, y, t, x):
    """Log-likelihood by dense normals, one for each person and class."""
    weight = np.exp(at.gate[:, 0]) / np.exp(at.gate[:, 0]).sum()
    total = 0.0
    for y_i, t_i, x_i in zip(y, t, x, strict=True):
        seen, summed = np.isfinite(y_i), 0.0
        for k in range(model.n_classes):
            loads = np.stack([np.ones(seen.sum()), t_i[seen]], axis=1)
            root = loads @ at.chol[k]
            law = stats.multivariate_normal(
                loads @ at.mean[k] + x_i[seen] @ at.varying.effect[k], root @ root.T + at.noise[k] * np.eye(seen.sum())
            )
            log_p = law.logpdf(y_i[seen])
            if model.joint:
                moments = at.varying.mean[k].T[seen], at.varying.spread[k].T[seen]
                log_p += stats.norm.logpdf(x_i[seen], *moments).sum()
            summed += weight[k] * np.exp(log_p)
        total += np.log(summed)
    return total


@pytest.mark.rest_slow
@pytest.mark.parametrize("joint", [True, False])
def test_the_density_is_that_of_scipy_under_every_naming_of_the_classes(joint):
    model = replace(JOINT, joint=joint)
    own = Priors(effect=0.3, x_mean=0.7, x_spread=0.6)
    y, t, x, seen = few(model)
    at, sites = Posed(own, seen, KNOTS, 0.0), drawn(model, 5, own)
    traced = jax.jit(lambda values: handlers.trace(handlers.replay(posterior_program(model), values))(at).log_probs)
    found = {address[-1]: float(value) for address, value in traced(sites).items()}
    known = {"direct": stats.norm.logpdf(sites["direct"], 0, 0.3).sum()}
    if joint:
        known["v_mean"] = stats.norm.logpdf(sites["v_mean"], 0, 0.7).sum()
        known["v_spread"] = stats.halfnorm.logpdf(sites["v_spread"], 0, 0.6).sum()
    assert {name: found[name] for name in OWN if name in found} == pytest.approx(known, rel=1e-12)
    parameters = jax.tree.map(np.asarray, parameters_of(sites, model, KNOTS)._replace(varying=None))
    parameters = parameters._replace(varying=Varying(*(sites.get(name) for name in OWN)))
    assert found["persons"] == pytest.approx(brute(parameters, model, y, t, x), rel=1e-12)
    moved = {name: value[..., ::-1] if name == "gate" else value[::-1] for name, value in sites.items()}
    assert sum(map(float, traced(moved).values())) == pytest.approx(sum(found.values()), rel=1e-12)
    mixed = sites | {"direct": sites["direct"][::-1]}  # a renaming of some sites alone is another point
    assert abs(float(sum(traced(mixed).values())) - sum(found.values())) > 1e-3


@pytest.mark.slow
def test_what_the_prior_predicts_has_the_law_of_the_table():
    """Outcomes and covariates at time 0 of 4000 draws of everything, against 40,000 by hand."""
    model, own = replace(JOINT, p_varying=1, waves=2), Priors(effect=4.0)
    nobody = panel(np.zeros((1, 2)), [0.0, 1.0])._replace(y=None)

    def program():
        trajectory_mixture(nobody, draw_parameters(model, own, KNOTS), model)

    def run(key):
        choices = handlers.trace(handlers.seed(program, key))().choices
        found = {address[-1]: value for address, value in choices.items()}
        return found["y"][0, 0], found["varying"].reshape(-1)[0]

    y, x = map(np.asarray, jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(6), 4000)))
    n, rng = 40_000, np.random.default_rng(0)
    normal = lambda sd: sd * rng.normal(size=n)
    half = lambda scale: scale * np.abs(rng.normal(size=n))
    x_known = normal(1.0) + half(1.0) * normal(1.0)
    known = normal(1.5) + half(1.0) * normal(1.0) + half(0.5) * normal(1.0)
    y_known = known + normal(4.0) * x_known
    assert stats.ks_2samp(x, x_known).pvalue > ALPHA and stats.ks_2samp(y, y_known).pvalue > ALPHA
    assert stats.ks_2samp(y, known).pvalue < ALPHA  # the test has power
    assert stats.ks_2samp(x, normal(1.0)).pvalue < ALPHA


def test_sites_and_parameters_are_one_another_s_inverse():
    sites = jax.tree.map(jnp.asarray, drawn(JOINT, 2))
    again = sites_of(parameters_of(sites, JOINT, KNOTS), JOINT, KNOTS)
    for name in OWN:
        np.testing.assert_array_equal(again[name], np.maximum(sites[name], 0.01) if name == "v_spread" else sites[name])


def moved_lines(n=30, y_unit=1.0, v_unit=1.0):
    """Straight lines of two classes, to which a covariate adds 4 or -4 a unit."""
    data, label = lines(n)
    rng = np.random.default_rng(9)
    for j in (1, 2, 3):
        v = 2 + 3 * rng.normal(size=n)
        data[f"Y{j}"] = y_unit * (data[f"Y{j}"] + np.where(label, -4.0, 4.0) * v)
        data[f"V{j}"] = v_unit * np.where(np.isfinite(data[f"Y{j}"]), v, np.nan)
    return data, label


@pytest.fixture(scope="module")
def found():
    return TrajectoryMixture(2, "LIN").bayes(moved_lines()[0], **WIDE, time_varying="V", key=0, **SMALL)


@pytest.mark.slow
def test_effects_and_moments_of_waves_are_found_in_the_users_units(found):
    table = found.estimates()
    assert len(table) == found.values.shape[-1] == found.model.size
    effects = table[table.parameter == "kappa"]
    assert sorted(effects.estimate) == pytest.approx([-4, 4], abs=0.8) and (effects.se < 0.8).all()
    assert set(effects.meaning) == {"direct effect of V"}
    waves = table[table.parameter.str.startswith("mutvc_")]
    assert len(waves) == 6 and waves.estimate.mean() == pytest.approx(2.0, abs=1.0)
    label = moved_lines()[1]
    assert max(np.mean((found.predict() == 1) == own) for own in (label == 0, label == 1)) > 0.9


@pytest.mark.slow
def test_log_likelihoods_are_those_of_the_parameters_and_the_data_in_the_users_units(found):
    data = found.data
    seen = panel(data.y, data.t, data.gate, data.growth, data.varying)
    at = jax.tree.map(lambda leaf: jnp.asarray(leaf[1, 5])[..., None], found.parameters)
    known = log_likelihood_by_person(at, seen, found.model)
    np.testing.assert_allclose(found.log_likelihood_by_person[1, 5], known, rtol=1e-9)


@pytest.mark.slow
def test_the_tree_names_covariates_and_waves(found):
    posterior = found.to_datatree()["posterior"]
    assert posterior["direct_effect"].dims == ("chain", "draw", "class", "varying_covariate")
    assert list(posterior["varying_covariate"].values) == ["V"]
    assert posterior["varying_mean"].dims[2:] == ("class", "varying_covariate", "wave")
    assert posterior["varying_variance"].shape[2:] == (2, 1, 3)
    own = found.values[0, 0, [row.parameter == "vartvc_2" for row in found.rows]]
    np.testing.assert_allclose(posterior["varying_variance"][0, 0, :, 0, 1], own)


@pytest.mark.slow
def test_a_picture_says_that_curves_are_those_where_the_covariate_is_zero(found):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    assert found.plot.curves(np.array([0.0, 5.0])).get_title() == "Curves of classes where covariates are 0"
    pyplot.close("all")


@pytest.mark.slow
def test_names_that_draws_had_change_no_effect(found):
    turned = np.random.default_rng(0).integers(2, size=found.shape).astype(bool)

    def renamed(name, array):
        mask = turned.reshape(*found.shape, *(1,) * (array.ndim - 2))
        return np.where(mask, np.flip(array, -1 if name == "gate" else 2), array)

    sites = {name: renamed(name, np.asarray(array)) for name, array in found.result.posterior.items()}
    other = replace(found, result=replace(found.result, _posterior=sites))
    numbers = ["estimate", "se", "lower", "upper"]
    np.testing.assert_allclose(found.estimates()[numbers], other.estimates()[numbers], rtol=1e-9)


@pytest.mark.slow
def test_replicates_are_moved_by_covariates_drawn_anew(found):
    again = replicated(found, 0, 40)
    assert again.shape == (40, 30, 3) and np.isnan(again).sum() == 40
    assert np.nanstd(again) == pytest.approx(np.nanstd(found.data.y), rel=0.25)


@pytest.mark.slow
def test_a_change_of_units_changes_the_evidence_by_its_jacobian_alone(found):
    """Powers of two, which are exact: both runs see the same numbers in standard units."""
    del found  # compiled it
    model, columns = TrajectoryMixture(2, "LIN"), {**WIDE, "time_varying": "V"}
    one, two = (
        model.compare_classes(data, [2], key=0, criteria=False, settings=SMALL, **columns).log_evidence[2]
        for data in (moved_lines()[0], moved_lines(y_unit=8.0, v_unit=0.25)[0])
    )
    np.testing.assert_allclose(two - one, -89 * (np.log(8.0) + np.log(0.25)), rtol=1e-9)
    with ThreadPoolExecutor(2) as pool:  # side by side with another number of classes: the same answers
        beside = model.compare_classes(
            moved_lines()[0], [1, 2], key=0, criteria=False, settings=SMALL, map=pool, **columns
        )
    assert list(beside.log_evidence) == [1, 2] and beside.table.index.tolist() == [1, 2]
    np.testing.assert_array_equal(beside.log_evidence[2], one)


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("density", ["joint", "conditional"])
def test_evidence_is_that_of_importance_sampling_from_the_prior(density):
    """Three persons, two waves, one class: 400,000 draws of the prior against 20 tempered runs."""
    data = {name: column[:3] for name, column in moved_lines()[0].items()}
    columns = {"y_var": "Y", "t_var": "T", "records": [1, 3], "time_varying": "V"}
    model = TrajectoryMixture(1, "LIN", covariate_density=density)
    found = model.bayes(data, **columns, key=2, **{**SMALL, "runs": 20})
    with jax.enable_x64(True):
        plan = inference.importance(posterior_program(found.model), particles=50_000, runs=8, keep="last")
        known = np.exp(np.asarray(plan(jax.random.key(3), found.at).log_evidence))
    ratio = np.exp(np.asarray(found.result.log_evidence)) / known.mean()
    error = np.hypot(ratio.std(ddof=1) / 20**0.5, known.std(ddof=1) / 8**0.5 / known.mean())
    assert abs(ratio.mean() - 1) < 6 * error < 0.6
