"""The Bayesian fit on a few persons: its parts fit together, names change nothing, evidence is that of the data."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference.results.collect import from_chains
from lawful.models.trajectories import (
    Bounds,
    Model,
    Priors,
    TrajectoryMixture,
    checked,
    estimator,
    panel,
    program,
    replicated,
)
from lawful.models.trajectories.posterior import bayes
from lawful.models.trajectories.posterior.bayes import STARTS, Posed, posterior_program, started_program
from lawful.models.trajectories.program import mixture_with_priors

SMALL = {"particles": 128, "runs": 2, "leapfrogs": 4, "start": "prior"}
WIDE = {"y_var": "Y", "t_var": "T", "records": range(1, 4)}


def lines(n=30, seed=0, gap=4.0):
    """Two classes of straight lines, three waves, one gap in the data."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    t = np.tile(np.array([0.0, 2.0, 5.0]), (n, 1)) + 0.2 * rng.uniform(size=(n, 3))
    level, slope = gap * label + rng.normal(size=n), 1.0 - 2.0 * label + 0.3 * rng.normal(size=n)
    y = 50 + 10 * (level[:, None] + slope[:, None] * t + 0.5 * rng.normal(size=(n, 3)))
    y[0, 1] = np.nan
    data = {f"Y{j + 1}": y[:, j] for j in range(3)} | {f"T{j + 1}": t[:, j] for j in range(3)}
    return data, label


@pytest.fixture(scope="module")
def fitted():
    data, label = lines()
    return TrajectoryMixture(2, "LIN").bayes(data, **WIDE, key=0, **SMALL), label


@pytest.mark.slow
def test_summaries_are_in_the_users_units_and_of_one_shape(fitted):
    found, label = fitted
    table = found.estimates()
    assert list(table["class"].unique()) == [1, 2] and len(table) == found.values.shape[-1] == len(found.rows)
    assert found.values.shape[:2] == found.shape == (2, 128)
    level = table[table.parameter == "mueta0"]["estimate"].to_numpy()
    assert sorted(level) == pytest.approx([50, 90], abs=12)
    w = found.predict_proba()
    assert w.shape == (30, 2) and w.sum(axis=1) == pytest.approx(np.ones(30))
    first = found.predict() == 1
    assert max(np.mean(first == label), np.mean(first != label)) > 0.9
    bands = found.class_intervals()
    assert bands.shape == (30, 2, 2) and np.all(bands[..., 0] <= bands[..., 1])
    assert found.occupied().sum() == pytest.approx(1.0) and found.occupied()[1] > 0.99
    pairs = found.co_membership()
    assert pairs[np.ix_(label == 0, label == 0)].mean() > 0.8 > 0.2 > pairs[np.ix_(label == 0, label == 1)].mean()
    curve = found.curves([0.0, 5.0])
    assert curve.shape == (2, 2, 3) and np.all((curve[..., 1] < curve[..., 0]) & (curve[..., 0] < curve[..., 2]))
    ranks = found.sorted_functionals()
    assert list(ranks.functional) == ["size", "size"] and ranks["mean"].sum() == pytest.approx(1.0)
    assert np.isfinite(found.log_evidence_by_run).all() and found.log_evidence_error > 0


@pytest.mark.slow
def test_t12_names_that_draws_had_and_the_order_of_chains_change_nothing(fitted):
    found, _ = fitted
    rng = np.random.default_rng(0)
    turned = rng.integers(2, size=found.shape).astype(bool)

    def renamed(name, array):
        array = np.asarray(array)
        axis = -1 if name == "gate" else 2
        mask = turned.reshape(*found.shape, *(1,) * (array.ndim - 2))
        return np.where(mask, np.flip(array, axis), array)[::-1, ::-1]

    sites = {name: renamed(name, array) for name, array in found.result.posterior.items()}
    other = replace(found, result=replace(found.result, _posterior=sites))
    one, two = found.estimates(), other.estimates()
    numbers = ["estimate", "se", "lower", "upper"]
    np.testing.assert_allclose(one[numbers], two[numbers], rtol=1e-9)
    np.testing.assert_allclose(found.predict_proba(), other.predict_proba(), atol=1e-12)
    np.testing.assert_allclose(found.class_intervals(), other.class_intervals(), atol=1e-9)
    np.testing.assert_allclose(found.co_membership(), other.co_membership(), atol=1e-12)
    np.testing.assert_allclose(found.curves([1.0]), other.curves([1.0]), rtol=1e-10)


@pytest.mark.slow
def test_the_tree_has_named_axes_and_a_log_likelihood_for_each_person(fitted):
    found, _ = fitted
    tree = found.to_datatree()
    assert tree["posterior"]["mean"].dims == ("chain", "draw", "class", "factor")
    assert tree["posterior"]["covariance"].shape == (2, 128, 2, 2, 2)
    assert list(tree["posterior"]["factor"].values) == ["eta0", "eta1"]
    persons = tree["log_likelihood"]["persons"]
    assert persons.dims == ("chain", "draw", "person") and persons.shape[2] == 30
    assert "sample_stats_smc" in tree.children and "observed_data" in tree.children
    fit = TrajectoryMixture(2, "LIN", n_starts=4).fit(lines()[0], **WIDE)
    best = float(persons.sum("person").max())
    assert -0.5 * fit.minus2ll - 12 < best < -0.5 * fit.minus2ll  # below the maximum, and in its units


@pytest.mark.slow
def test_a_posterior_is_told_in_a_line_and_its_tree_is_double_where_the_user_is_not(fitted, single_precision):
    found, _ = fitted
    assert repr(found).startswith("<TrajectoryPosterior: linear, 2 classes, 30 persons, log evidence -")
    assert "\n" not in repr(found) and len(repr(found)) < 150
    assert found.to_datatree()["posterior"]["mean"].dtype == np.float64


@pytest.mark.slow
def test_replicates_keep_gaps_and_statistics_that_the_model_reproduces_are_not_extreme(fitted):
    found, _ = fitted
    again = replicated(found, 0, 20)
    assert again.shape == (20, 30, 3) and np.isnan(again[:, 0, 1]).all() and np.isnan(again).sum() == 20
    wild = found.data.y.copy()
    wild[3, 2] = 1000.0
    ends = {"mean": lambda y: np.nanmean(y, axis=0), "largest": np.nanmax}
    own, other = checked(found, 1, 40, ends), checked(replace(found, data=replace(found.data, y=wild)), 1, 40, ends)
    assert list(own.place) == [1, 2, 3, 1]
    assert own.probability.between(0.02, 0.98).all() and other.probability[3] == 0.0


def test_a_second_data_set_of_the_same_shape_finds_its_program_compiled(fitted):
    from lawful.models.trajectories.posterior.bayes import _tempered

    before = _tempered.cache_info().currsize
    found, _ = fitted
    data, _ = lines(seed=1)
    again = TrajectoryMixture(2, "LIN").bayes(data, **WIDE, key=1, **SMALL)
    assert _tempered.cache_info().currsize == before
    assert again.result.form is found.result.form


@pytest.mark.slow
def test_chains_begin_at_the_best_regular_optimum_of_the_penalised_likelihood(monkeypatch):
    """Not where a climb ended lower, at no number or with a class of hardly anyone. The chains themselves stay away."""

    class Plan:
        def starting(self, init):
            draws = {name: np.repeat(np.asarray(x)[:, None], 4, axis=1) for name, x in init.items()}
            return lambda key, at: from_chains(draws)

    def spoiled(*args):
        found = climbed(*args)
        free, value, degenerate = (np.array(each) for each in (found.free, found.value, found.degenerate))
        free[:3] += 1.0
        value[:3], degenerate[2] = [value.max() - 40.0, np.nan, value.max() + 9.0], True
        return replace(found, free=free, value=value, degenerate=degenerate)

    shared, climbed = Plan(), bayes.climbed_for
    monkeypatch.setattr(bayes, "_chains", lambda *_, **__: shared)
    monkeypatch.setattr(estimator, "climbed_for", spoiled)
    model = TrajectoryMixture(2, "LIN", penalty="weak", n_starts=6)
    found = model.bayes(lines()[0], **WIDE, key=0, method="nuts", chains=3)
    assert found.shape == (3, 4)
    at = found.log_likelihood_by_person[:, 0].sum(axis=1)
    np.testing.assert_allclose(at, -0.5 * model.fit(lines()[0], **WIDE).minus2ll, atol=0.3)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"start": "anywhere"}, "anywhere"),
        ({"method": "em"}, "em"),
        ({"chains": 3}, "chains"),
        ({"particles": 100}, "whole number of chains"),
    ],
)
def test_wrong_settings_are_refused(settings, named):
    with pytest.raises(LawfulError, match=named) as error:
        TrajectoryMixture(1, "LIN").bayes(lines()[0], **WIDE, key=0, **settings)
    assert "Fix:" in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "select"), [(Model("BLS", 2, 1, 2), False), (Model("LIN", 3, 2, 1, joint=False), True)]
)
def test_classes_from_a_mixture_leave_the_posterior_as_it_is(model, select):
    """The density of coordinates is that of the plain program: prior times likelihood, Jacobian included."""
    rng = np.random.default_rng(0)
    k, n, knots = model.n_classes, 5, Bounds(jnp.asarray(0.1), jnp.asarray(0.9))
    t = np.tile(np.linspace(0, 1, 4), (n, 1))
    seen = panel(rng.normal(size=(n, 4)), t, rng.normal(size=(n, model.p_gate)), rng.normal(size=(n, model.p_growth)))
    at = Posed(jax.tree.map(jnp.asarray, Priors()), seen, knots, jnp.asarray(0.01))
    here = lawful.density(posterior_program(model, select), at)
    origin, unravel = here.ravel()
    position = {name: jnp.asarray(0.3 * rng.normal(size=zero.shape)) for name, zero in unravel(origin).items()}
    shared = {name for name in position if name.startswith("gate") or (select and name.startswith("effect"))}
    names = [name for name in here.names if name not in shared]
    point = jnp.concatenate([position[name].reshape(k, -1) for name in names], axis=1)
    one = dist.MultivariateStudentT(5.0, jnp.zeros(point.shape[1]), jnp.eye(point.shape[1]))
    sites = tuple((name, position[name].size // k) for name in names)
    far = inference.SymmetricMixture(jnp.zeros(1), one.expand((1, k)), one, sites=sites)
    there = lawful.density(started_program(model, select), at, far)
    rest = {name: position[name] for name in shared}
    np.testing.assert_allclose(there.logp({"class.start": point} | rest), here.logp(position), rtol=1e-11)
    assert there.logp({"class.start": point.at[0, 2:].set(400.0)} | rest) == -np.inf  # where numbers overflow


def posed_persons(model):
    rng = np.random.default_rng(0)
    seen = panel(rng.normal(size=(3, 4)), np.linspace(0, 1, 4), rng.normal(size=(3, model.p_gate)))
    return Posed(
        jax.tree.map(jnp.asarray, Priors()), seen, Bounds(jnp.asarray(0.1), jnp.asarray(0.9)), jnp.asarray(0.0)
    )


def test_the_posterior_is_that_of_its_program_with_another_prior_too(monkeypatch):
    """The joint is the posterior with factors integrated and classes summed out, whatever it draws parameters from."""
    model, usual = Model("LIN", 2), bayes.draw_parameters
    at = posed_persons(model)
    summed = inference.integrate_normals(["eta"]) >> inference.marginalise(["z"])

    def low(*given):
        drawn = usual(*given)
        lawful.factor("low", jnp.sum(dist.Normal(-0.5, 0.1).log_prob(drawn.mean[:, 0])))
        return drawn

    for module in (bayes, program):
        monkeypatch.setattr(module, "draw_parameters", low)
    by_hand, joint = posterior_program.__wrapped__(model), partial(mixture_with_priors, model=model)
    assert all(
        any(getattr(n, "address", None) == ("low",) for n in lawful.trace(p, at).nodes) for p in (by_hand, joint)
    )
    here, there = lawful.density(by_hand, at), lawful.density(summed(joint), at)
    point = jnp.linspace(-1.0, 1.0, here.ravel()[0].size)
    assert here.names == there.names
    assert float(here.logp_vector(point)) == pytest.approx(float(there.logp_vector(point)), rel=1e-12)


def by_level(result):
    """Means, spreads, residuals and gates of the class of the lower level, then of the other (run, draw, 12)."""
    mean, spread, noise, gate = (np.asarray(result.posterior[name]) for name in ("mean", "spread", "noise", "gate"))
    each = np.concatenate([mean, spread, noise[..., None], np.swapaxes(gate, 2, 3)], axis=3)
    order = np.argsort(mean[..., 0], axis=2)[..., None]
    return np.take_along_axis(each, order, axis=2).reshape(*each.shape[:2], 12)


@pytest.mark.slow
def test_nuts_on_the_joint_agrees_with_tempering():
    """Means of eight runs and of sixteen chains, which sum the joint by the transformers that `bayes` does not use.

    They are within six standard errors: more is a false alarm once in 150, at most, for all twelve numbers (Student's
    law, 7 degrees of freedom). Six errors are less than half a posterior standard deviation; another prior is found.
    """
    found = TrajectoryMixture(2, "LIN", n_starts=4).bayes(lines()[0], **WIDE, key=3, particles=256, runs=8, leapfrogs=4)
    names = ("gate", "mean", "spread", "root", "noise")
    begin = {name: np.asarray(found.result.posterior[name])[0, 0] for name in names}
    summed = inference.integrate_normals(["eta"]) >> inference.marginalise(["z"])
    one, priors = by_level(found.result), found.at.priors
    with jax.enable_x64(True):
        joint = summed(partial(mixture_with_priors, model=found.model))
        plan = inference.mcmc(joint, inference.kernels.nuts(), chains=16, warmup=500, draws=500, init=begin)
        for level, agree in ((priors.level, True), (priors.level / 3, False)):
            two = by_level(plan(1, found.at._replace(priors=priors._replace(level=level))))
            apart = one.mean(axis=(0, 1)) - two.mean(axis=(0, 1))
            between = np.array([each.mean(axis=1).var(axis=0, ddof=1) for each in (one, two)])
            within = np.array([each.var(axis=1).mean(axis=0) for each in (one, two)])
            error = np.sqrt(between[0] / 8 + between[1] / 16)
            assert (between < 0.08 * within).all()  # R-hat is below 1.04 in both
            assert (6 * error < 0.5 * np.sqrt(within[0])).all() and (np.abs(apart) < 6 * error).all() == agree


@pytest.mark.slow
@pytest.mark.parametrize("classes", [1, 2])
def test_tempering_from_the_optima_has_the_evidence_of_tempering_from_the_prior(classes):
    """Within five standard errors of both, of two classes with half the particles; and means of one class agree."""
    data, _ = lines()
    one, two = (
        TrajectoryMixture(classes, "LIN", n_starts=2 * classes).bayes(
            data, **WIDE, key=3, particles=particles, runs=4 * classes, leapfrogs=4, start=start
        )
        for start, particles in zip(STARTS, (256, 256 * classes), strict=True)
    )
    assert abs(one.log_evidence - two.log_evidence) < 5 * np.hypot(one.log_evidence_error, two.log_evidence_error)
    assert one.log_evidence_error < 0.2 and two.log_evidence_error < 0.2
    if classes == 1:
        first, second = (each.estimates()["estimate"].to_numpy() for each in (one, two))
        assert first == pytest.approx(second, rel=0.5, abs=0.5)


@pytest.mark.slow
@pytest.mark.optimised
def test_evidence_is_that_of_importance_sampling_from_the_prior():
    """Four persons, one class: 40,000 draws of the prior against tempered runs, within six standard errors."""
    data = {name: column[:4] for name, column in lines()[0].items()}
    found = TrajectoryMixture(1, "LIN").bayes(data, **WIDE, key=2, **{**SMALL, "runs": 20})
    with jax.enable_x64(True):
        plan = inference.importance(posterior_program(found.model), particles=20_000, runs=2, keep="last")
        log_z = np.asarray(plan(jax.random.key(3), found.at).log_evidence)
    ratio = np.exp(np.asarray(found.result.log_evidence) - log_z.mean())
    assert abs(ratio.mean() - 1) < 6 * np.hypot(ratio.std(ddof=1) / 20**0.5, abs(log_z[0] - log_z[1]) + 0.02)
    assert ratio.std() < 0.6


def test_pictures_of_a_posterior_show_its_means_and_intervals(fitted):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    found, _ = fitted
    ax = found.plot.curves(times=np.array([0.0, 5.0]))
    np.testing.assert_allclose(ax.get_lines()[1].get_ydata(), found.curves([0.0, 5.0])[1, :, 0])
    band = ax.collections[1].get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose([band.min(), band.max()], [found.curves([0.0, 5.0])[1, :, 1:].min(),
                                                          found.curves([0.0, 5.0])[1, :, 1:].max()])  # fmt: skip
    assert "30 persons" in found.plot.persons().get_title()
    axes = found.plot.checks(0, draws=20)
    table = checked(found, 0, draws=20)
    assert [ax.get_title() for ax in axes] == list(dict.fromkeys(table.statistic))
    np.testing.assert_allclose(axes[0].get_lines()[1].get_ydata(), table[table.statistic == "mean"].observed)
    pyplot.close("all")
