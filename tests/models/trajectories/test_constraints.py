"""What is equal in all classes or fixed is so in fits, errors, tables and posteriors; optima are those of the set."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import halfnorm, multivariate_normal

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.models.trajectories import (
    Bounds,
    Model,
    Priors,
    TrajectoryMixture,
    likelihood_ratio,
    log_likelihood,
    log_likelihood_by_person,
    pack,
    panel,
    parameters_of,
    sites_of,
    trajectory_mixture,
    unpack,
)
from lawful.models.trajectories.fitting.objective import Problem, curvature
from lawful.models.trajectories.fitting.problem import problem_of, read_columns
from lawful.models.trajectories.model.parameters import free_shape
from lawful.models.trajectories.model.scaling import in_user_units
from lawful.models.trajectories.posterior.bayes import Posed, posterior_program
from lawful.models.trajectories.reading.settings import check_settings

from .test_bayes import WIDE, lines
from .truth import BOUNDS, case

AT = Bounds(0.4, 0.4)
COMMON = ("psi", "residual")
MODELS = [
    (Model("LIN", 2, 1, equal=COMMON), 2 * 2 + 3 + 1 + 2),
    (Model("LIN", 2, random=()), 2 * (2 + 1) + 1),
    (Model("BLS", 3, 0, 2, equal=(*COMMON, "slope", "shape", "covariates")), 3 * 3 + 1 + 6 + 6 + 1 + 2 + 3 + 2),
    (Model("BLS", 2, 0, 1, fixed=True, random=("eta0", "eta2")), 2 * (3 + 3 + 3 + 1 + 2) + 1),
    (Model("QUAD", 2, random=("eta1",), joint=False), 2 * (3 + 1 + 1) + 1),
    (Model("EXP", 2, 0, 0, fixed=True, equal=("residual",)), 2 * (2 + 3) + 1 + 1),
    (Model("JB", 2, intrinsic=True, equal=("shape",), random=("acceleration", "eta0")), 2 * (3 + 3 + 1) + 1 + 1),
    (Model("LIN", 2, p_varying=1, waves=3, equal=("kappa", "varying", "psi")), 2 * (2 + 1) + 3 + 1 + 6 + 1),
]


def lifted(model):
    """The plain model, and the map z -> A z + c from the free vector of a constrained one to that of the plain one."""
    plain = replace(model, equal=(), random=None, fixed=False)
    linear, constant = np.zeros((plain.size, model.size)), np.zeros(plain.size)
    for block in plain.blocks:
        to, own = plain.places(block), model.places(block)
        if block == "shape" and model.fixed:
            constant[to] = np.asarray(free_shape(np.full(to.shape, AT.low), plain, BOUNDS))
            continue
        if block == "chol":
            rows, columns = np.tril_indices(model.n_factors)
            to = to[:, np.isin(rows, model.random_places) & np.isin(columns, model.random_places)]
        linear[to.ravel(), own.ravel()] = 1.0
    return plain, linear, constant


@pytest.mark.rest_slow
@pytest.mark.parametrize(("model", "count"), MODELS, ids=[f"{m.curve}-{i}" for i, (m, _) in enumerate(MODELS)])
def test_a_constrained_tree_is_the_plain_one_at_a_linear_map_of_the_free_vector(model, count):
    """So the number of free parameters is its rank, and whatever is a function of the tree has its derivatives."""
    plain, linear, constant = lifted(model)
    assert model.size == count == np.linalg.matrix_rank(linear)
    if model.fixed and model.curve == "EXP":
        constant[plain.places("shape")] = np.log(AT.low)
    free = np.random.default_rng(0).normal(size=count)
    bounds = AT if model.fixed else BOUNDS
    with jax.enable_x64(True):
        found = unpack(free, model, bounds)
        known = unpack(linear @ free + constant, plain, BOUNDS)
        jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-300), found, known)
        again = unpack(pack(found, model, bounds), model, bounds)
        jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12), again, found)
        drawn = parameters_of(sites_of(found, model, bounds), model, bounds)
    for name in ("mean", "shape", "slope", "noise", "x_mean"):
        np.testing.assert_allclose(getattr(drawn, name), getattr(found, name), rtol=1e-9, err_msg=name)
    for name in ("chol", "x_chol"):  # correlations are moved inside
        one, other = (np.asarray(getattr(each, name)) for each in (drawn, found))
        one, other = (root @ np.swapaxes(root, 1, 2) for root in (one, other))
        kept = 0.99 + 0.01 * np.eye(one.shape[1])
        np.testing.assert_allclose(one, kept * other, rtol=1e-9, atol=1e-15, err_msg=name)


@pytest.fixture(scope="module")
def held(two_lines):
    """A fit with variances equal in all classes, as Mplus and lcmm have it."""
    return TrajectoryMixture(2, "LIN", n_starts=4, equal=COMMON).fit(two_lines[0], gate="x", **COLUMNS)


COLUMNS = {"y_var": "Y", "t_var": "T", "records": range(1, 5)}


def scipy_optimum(fit, map_, away):
    """The highest log-likelihood of the plain model at `map_` of free vectors, by another optimiser from near by."""
    plain, data = replace(fit.model, equal=(), random=None, fixed=False), fit.problem.panel
    start = fit.free + away * np.random.default_rng(0).normal(size=fit.model.size)
    with jax.enable_x64(True):
        both = jax.jit(jax.value_and_grad(lambda z: -log_likelihood(map_(z), data, plain)))
        found = minimize(
            lambda z: jax.tree.map(np.asarray, both(jnp.asarray(z))), start, jac=True, method="BFGS",
            options={"gtol": 1e-8},
        )  # fmt: skip
    return -found.fun


@pytest.mark.slow
def test_the_optimum_is_that_of_the_plain_likelihood_over_the_constrained_set(two_lines, held):
    free = two_lines[1]
    plain, linear, _ = lifted(held.model)
    assert plain == free.model and held.n_parameters == free.n_parameters - 4 == 10
    best = scipy_optimum(held, lambda z: unpack(linear @ z, plain, held.problem.bounds), 0.05)
    assert held.search.value[held.search.best] == pytest.approx(best, abs=1e-8)
    test = likelihood_ratio(held, free)
    assert (
        test.df == 4 and test.statistic == pytest.approx(held.minus2ll - free.minus2ll, abs=1e-9) and 0 < test.p_value
    )
    with pytest.raises(LawfulError, match="held equal in the first"):
        likelihood_ratio(free, held)


def test_a_fit_ends_at_the_maximum_of_its_program(two_lines, held):
    """The joint, summed, has the value that the fit tells and no slope; with other data or noises it is otherwise."""
    y, t = (np.stack([two_lines[0][f"{name}{j}"] for j in range(1, 5)], axis=1) for name in "YT")
    summed = inference.integrate_normals(["eta"]) >> inference.marginalise(["z"])

    def at(free):
        return in_user_units(unpack(free, held.model, held.problem.bounds), held.model, held.scaling)

    @jax.jit
    @jax.value_and_grad
    def score(free, data, factor):
        found = at(free)
        return program.log_density({}, data, found._replace(noise=factor * found.noise))

    with jax.enable_x64(True):
        free, data = jnp.asarray(held.free), panel(y, t, two_lines[0]["x"][:, None])
        form = lawful.trace(lambda data, at: trajectory_mixture(data, at, held.model), data, at(free))
        program = inference.enumeration(form, summed).marginal
        value, slope = score(free, data, 1.0)
        assert float(value) == pytest.approx(-0.5 * held.minus2ll, rel=1e-10) and np.abs(slope).max() < 1e-3
        for changed in ((data._replace(y=data.y.at[0, 0].add(1.0)), 1.0), (data, 1.1)):
            value, slope = score(free, *changed)
            assert abs(value + 0.5 * held.minus2ll) > 0.1 and np.abs(slope).max() > 1.0


@pytest.mark.slow
def test_tables_errors_and_criteria_know_what_is_equal(held):
    table = held.estimates()
    tied = table[table.flag == "equal"]
    assert sorted({*tied.parameter}) == ["psi00", "psi10", "psi11", "residuals"] and len(tied) == 8
    one, two = (tied[tied["class"] == label].drop(columns=["class", "flag"]) for label in (1, 2))
    assert one.to_numpy().tolist() == two.to_numpy().tolist() and not table.se.isna().any()
    assert held.bic == pytest.approx(held.minus2ll + 10 * np.log(80), rel=1e-12)
    assert "10 parameters, equal psi and residual" in held.summary()
    errors = held.standard_errors
    assert errors.of_free.shape == (10, 10) and np.linalg.matrix_rank(errors.covariance) == 10
    again = held.bootstrap(0, 4).values
    names = [(row.label, row.parameter) for row in held.rows]
    for parameter in ("psi00", "psi11", "residuals"):
        np.testing.assert_array_equal(again[:, names.index((1, parameter))], again[:, names.index((2, parameter))])
    with pytest.raises(LawfulError, match="no interval"):
        vars(other := replace(held))["ties"] = np.full(len(held.rows), "fixed", object)
        other.interval("c1psi00")


def test_all_that_may_be_free_is_the_plain_model():
    assert posed(curve="LIN") == posed(curve="LIN", random=["eta1", "eta0"], fixed={}, equal=[]) == Model("LIN", 2)


def posed(**settings):
    """The model that settings mean, as `fit` reads them."""
    given = TrajectoryMixture(2, **settings).get_params()
    check_settings(given)
    return problem_of(read_columns(lines()[0], "Y", "T", range(1, 4)), given)[0]


def test_what_cannot_be_held_is_refused_with_what_to_do():
    for settings, named in (
        ({"equal": ("psi", "theta")}, "expected names among 'psi', 'residual'"),
        ({"equal": "shape", "curve": "LIN"}, "expected names among"),
        ({"random": ("knot",)}, "expected names among 'eta0', 'eta1', 'eta2'"),
        ({"intrinsic": True, "random": ("eta0",)}, "name 'knot' in random, too"),
        ({"intrinsic": True, "fixed": {"knot": 3.0}}, "Fix: leave intrinsic out"),
        ({"fixed": {"knot": 3.0}, "knot_bounds": (1.0, 4.0)}, "leave knot_bounds out"),
        ({"fixed": {"rate": -1.0}, "curve": "EXP"}, "a positive number"),
        ({"fixed": {"psi": 0.0}}, r"random=\(\) is what fixes"),
        ({"fixed": 3.0}, "a time"),
        ({"fixed": {"knot": 3.0}, "curve": "LIN"}, "no shape"),
        ({"equal": "psi", "penalty": "pooled"}, "pools the classes in part"),
        ({"fixed": {"knot": 99.0}}, "times go from"),
    ):
        with pytest.raises(LawfulError, match=named) as error:
            posed(**settings)
        assert "Fix:" in str(error.value)


def test_a_prior_counts_what_is_equal_once_and_fixed_things_not_at_all():
    """The density of the posterior program is that of each law once, times the likelihood."""
    model = Model("LIN", 2, 0, 0, equal=("residual",), random=("eta1",))
    _, seen, _ = case(Model("LIN", 2))
    with jax.enable_x64(True):
        seen = panel(np.asarray(seen.y).T, np.asarray(seen.t).T)
        at = Posed(jax.tree.map(jnp.asarray, Priors()), seen, BOUNDS, jnp.asarray(0.0))
        form = lawful.trace(posterior_program(model), at)
        shapes = {site.address[0]: None for site in form.sites()}
        rng = np.random.default_rng(1)
        choices = {
            "gate": jnp.asarray([[0.3, -0.3]]), "mean": jnp.asarray(rng.normal(size=(2, 2))),
            "spread": jnp.asarray(np.abs(rng.normal(size=(2, 1)))), "noise": jnp.asarray(0.4),
        }  # fmt: skip
        assert {*shapes} - {"persons"} == {*choices}
        found = form.log_density(choices, at)
        laws = {
            "mean": dist.Normal(0.0, jnp.asarray([1.5, 4.0])), "spread": dist.HalfNormal(2.0),
            "noise": dist.HalfNormal(0.5), "gate": dist.ZeroSumNormal(1.0, (2,)),
        }  # fmt: skip
        prior = sum(jnp.sum(law.log_prob(choices[name])) for name, law in laws.items())
        parameters = parameters_of(choices, model, BOUNDS)
        assert parameters.noise.tolist() == pytest.approx([0.16, 0.16]) and not np.asarray(parameters.chol)[:, 0].any()
        known = prior + log_likelihood(parameters, seen, model)
    assert float(found) == pytest.approx(float(known), rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "count"), MODELS, ids=[f"{m.curve}-{i}" for i, (m, _) in enumerate(MODELS)])
def test_scores_are_differences(model, count):
    bounds = AT if model.fixed else BOUNDS
    rng = np.random.default_rng(2)
    (y, t, gate, growth), _, _ = case(replace(model, equal=(), random=None, fixed=False), waves=3)
    varying = rng.normal(size=(*y.shape, 1)) if model.p_varying else None
    with jax.enable_x64(True):
        seen = panel(y, t, gate, growth, varying)
        free = jnp.asarray(0.7 * rng.normal(size=count))
        bounds = Bounds(*map(jnp.asarray, bounds))
        _, scores = curvature(free, Problem(seen, bounds, jnp.asarray(0.0)), model)

        def by_person(free):
            return np.asarray(log_likelihood_by_person(unpack(free[:, None], model, bounds), seen, model))

        step = 1e-6 * np.eye(count)
        known = np.stack([(by_person(free + d) - by_person(free - d)) / 2e-6 for d in step])
    np.testing.assert_allclose(scores, known, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"random": ()}, {"fixed": {"knot": 2.1}}, {"equal": ("shape", "psi")}], ids=str)
def test_splines_with_constraints_have_the_optimum_of_the_set_and_no_edge_where_none_is(settings):
    rng, t = np.random.default_rng(4), np.arange(6.0)
    late = np.arange(90) % 3 == 0
    y = np.where(late, 8.0, 2.0)[:, None] + np.where(late, 2.0, 0.5)[:, None] * np.minimum(t - 2.3, 0)
    y = y - 1.0 * np.maximum(t - 2.3, 0) + 0.8 * rng.normal(size=(90, 1)) + 0.5 * rng.normal(size=y.shape)
    data = {f"Y{j + 1}": y[:, j] for j in range(6)} | {f"T{j + 1}": t[j] + 0.1 * rng.normal(size=90) for j in range(6)}
    fit = TrajectoryMixture(2, "BLS", n_starts=4, **settings).fit(data, "Y", "T", range(1, 7))
    table = fit.estimates().set_index(["class", "parameter"])
    if "random" in settings:
        assert not [finding for finding in fit.boundary if finding.kind == "psi"] and fit.n_parameters == 11
        assert (table.xs("psi11", level=1)[["estimate", "se"]] == 0).all(axis=None)
        assert {*table.xs("psi11", level=1).flag} == {"fixed"}
    elif "fixed" in settings:
        assert table.xs("mug", level=1).estimate.tolist() == pytest.approx([2.1, 2.1]) and fit.n_parameters == 21
        assert {*table.xs("mug", level=1).flag} == {"fixed"}
        with pytest.raises(LawfulError, match="knot is fixed"):
            fit.profile(1, [2.0])
    else:
        assert {*table.xs("mug", level=1).flag} == {"equal"} and fit.n_parameters == 23 - 7
    best = scipy_optimum(fit, lambda z: unpack(z, fit.model, fit.problem.bounds), 0.03)
    assert fit.search.value[fit.search.best] >= best - 1e-8  # another optimum may be near by, and lower


@pytest.mark.slow
@pytest.mark.optimised
def test_the_evidence_of_a_fixed_covariance_is_an_integral_over_one_number():
    """One class, no random factor: a linear regression, its coefficients integrated out in closed form."""
    found = TrajectoryMixture(1, "LIN", random=()).bayes(lines()[0], **WIDE, key=0, particles=1024, runs=8)
    seen = found.at.panel
    mask = np.asarray(seen.mask) > 0
    y, t = np.asarray(seen.y)[mask], np.asarray(seen.t)[mask]
    design = np.stack([np.ones_like(t), t], axis=1) * np.array([1.5, 4.0])
    grid = np.linspace(1e-3, 3.0, 3000)
    logs = [multivariate_normal.logpdf(y, np.zeros_like(y), design @ design.T + s**2 * np.eye(len(y))) for s in grid]
    known = logsumexp(logs + halfnorm.logpdf(grid, scale=0.5)) + np.log(grid[1] - grid[0])
    known += found.scaling.log_jacobian(mask.sum(), 30, found.model)
    told = found.estimates().set_index("parameter")
    assert told.flag["psi11"] == "fixed" and told.se["psi11"] == 0 and told.flag["residuals"] == ""
    assert not any("psi" in finding.message for finding in found.reasons)
    print("log evidence", found.log_evidence, "+-", found.log_evidence_error, "known", known)
    assert abs(found.log_evidence - known) < 5 * found.log_evidence_error < 0.5  # false alarm 1e-3 with 8 runs


@pytest.mark.slow
@pytest.mark.optimised
def test_evidence_from_optima_and_from_the_prior_agree_where_classes_share():
    """Six standard errors apart or more has a false-alarm rate below 1e-3 with 7 degrees of freedom each."""
    model = TrajectoryMixture(2, "LIN", n_starts=4, equal=COMMON)
    one, two = (
        model.bayes(lines()[0], **WIDE, key=3, particles=1024, runs=8, start=start) for start in ("optima", "prior")
    )
    print([(each.log_evidence, each.log_evidence_error) for each in (one, two)])
    error = np.hypot(one.log_evidence_error, two.log_evidence_error)
    assert abs(one.log_evidence - two.log_evidence) < 6 * error < 1.5
    table = one.estimates().set_index(["class", "parameter"])
    assert table.estimate[1, "psi00"] == table.estimate[2, "psi00"] and one.n_parameters == 9
    fit = model.fit(lines()[0], **WIDE)
    assert one.class_sizes == pytest.approx(fit.class_sizes, abs=0.1)
