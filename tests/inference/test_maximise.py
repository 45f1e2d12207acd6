"""Maximise: optima of programs with closed forms, of marginals by hand, and what is said where there is no maximum."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints
from scipy import optimize, special, stats

import lawful
from lawful import inference
from lawful.errors import LawfulError, NoFiniteStartError, UnsupportedProgramError
from lawful.form.choices import choices_of
from lawful.inference import RunOptions
from lawful.inference.plans.searches.distinct import _exchanged
from lawful.inference.plans.searches.verdict import verdict
from lawful.inference.results.optima import KINDS, Optima, marked
from lawful.inference.results.result import Result

RNG = np.random.default_rng(41)
X = RNG.normal(size=(40, 2)) * [1.0, 10.0]
Y = X @ [1.0, 0.2] + RNG.normal(size=40)
LINE, POSITIVE = constraints.real, constraints.positive


def flat(name, support=LINE, shape=()):
    """A site without a prior, so that the maximum is that of the likelihood."""
    return lawful.sample(name, dist.ImproperUniform(support, shape, ()))


def regression(x, y):
    slopes, sd = flat("slopes", shape=(2,)), flat("sd", POSITIVE)
    lawful.deterministic("precision", sd**-2.0)
    with lawful.plate("row", len(y)):
        lawful.sample("y", dist.Normal(x @ slopes, sd), obs=y)


def coins(heads, a, b):
    """Coins of one probability, with the prior Beta(a, b)."""
    p = lawful.sample("p", dist.Beta(a, b))
    lawful.sample("heads", dist.Binomial(10, p), obs=heads)


def outliers(y):
    """A level of data that are outliers at times."""
    level = lawful.sample("level", dist.Normal(0.0, 2.0))
    with lawful.plate("row", len(y)):
        outlier = lawful.sample("outlier", dist.Bernoulli(0.2))
        lawful.sample("y", dist.Normal(level, jnp.where(outlier == 1, 5.0, 1.0)), obs=y)


def codes(result):
    return {finding.code for finding in result.reasons}


@pytest.fixture(scope="module")
def fitted():
    return inference.maximise(regression, starts=4)(0, X, Y)


@pytest.mark.slow
def test_of_a_regression_value_errors_and_covariance_are_the_closed_form(fitted):
    """Least squares, the root mean square of the residuals, and the inverse of the information, all to 1e-9."""
    best = fitted.optima[0]
    slopes, residual, *_ = np.linalg.lstsq(X, Y, rcond=None)
    sd = np.sqrt(residual[0] / len(Y))
    inverse = sd**2 * np.linalg.inv(X.T @ X)
    np.testing.assert_allclose(best.values["slopes"], slopes, rtol=1e-9)
    np.testing.assert_allclose(best.values["sd"], sd, rtol=1e-9)
    np.testing.assert_allclose(best.log_density, stats.norm(X @ slopes, sd).logpdf(Y).sum(), rtol=1e-12)
    np.testing.assert_allclose(best.errors["slopes"], np.sqrt(np.diag(inverse)), rtol=1e-9)
    np.testing.assert_allclose(best.errors["sd"], sd / np.sqrt(2 * len(Y)), rtol=1e-9)
    np.testing.assert_allclose(best.errors["precision"], 2 * sd**-3 * best.errors["sd"], rtol=1e-9)  # delta method
    np.testing.assert_allclose(best.covariance[:2, :2], inverse, rtol=1e-9)
    assert fitted.ok and not codes(fitted) and (best.kind, best.starts, best.share) == ("maximum", 4, 1.0)


def test_the_value_is_the_density_of_the_program_there_and_its_slope_is_zero(fitted):
    form, values = lawful.trace(regression, X, Y), {n: fitted.optima[0].values[n] for n in ("slopes", "sd")}
    np.testing.assert_allclose(form.log_density(values, X, Y), fitted.optima[0].log_density, rtol=1e-13)
    slope = jax.grad(lambda values: form.log_density(values, X, Y))({n: jnp.asarray(x) for n, x in values.items()})
    assert max(float(np.abs(x).max()) for x in slope.values()) < 1e-9


@pytest.mark.kills("67")
def test_of_coins_it_is_the_mode_of_the_beta_law_and_edges_are_found():
    """(heads + a - 1) / (10 + a + b - 2), without the Jacobian of the logit; 0 and 1 where that says so."""
    plan = inference.maximise(coins, starts=4)
    best = plan(0, 7, 2.0, 3.0).optima[0]
    np.testing.assert_allclose(best.values["p"], 8 / 13, rtol=1e-12)
    np.testing.assert_allclose(best.errors["p"], np.sqrt(8 / 13 * 5 / 13 / 13), rtol=1e-9)
    for heads, edge in ((0, -1), (10, 1)):
        result = plan(0, heads, 1.0, 1.0)
        (best,) = result.optima
        assert abs(best.values["p"] - (edge + 1) / 2) < 1e-15 and best.edges["p"] == edge and best.at_edge == ("p",)
        assert result.ok and codes(result) == {"AT_EDGE"} and np.isnan(best.errors["p"]) and best.log_density < 1e-12
    result = plan(0, 0, 0.5, 1.0)  # the density of the prior has no bound at 0
    assert not result.ok and codes(result) == {"NO_MAXIMUM"} and result.optima[0].kind == "unbounded"


@pytest.mark.slow
def test_of_a_marginal_it_is_that_of_the_sum_by_hand(tmp_path):
    y = np.array([0.3, 1.1, 0.7, 9.0])

    def slope(level):
        far, near = (stats.norm(level, sd) for sd in (5.0, 1.0))
        mass = 0.2 * far.pdf(y), 0.8 * near.pdf(y)
        return np.sum((mass[0] * (y - level) / 25 + mass[1] * (y - level)) / (mass[0] + mass[1])) - level / 4

    level = optimize.brentq(slope, 0.0, 2.0, xtol=1e-14)
    log_density = (
        stats.norm(0, 2).logpdf(level)
        + special.logsumexp(
            [np.log(0.2) + stats.norm(level, 5).logpdf(y), np.log(0.8) + stats.norm(level, 1).logpdf(y)], axis=0
        ).sum()
    )
    plan = inference.maximise(outliers, starts=4, enumerate="outlier")
    result = plan(0, y)
    np.testing.assert_allclose(result.optima[0].values["level"], level, rtol=1e-10)
    np.testing.assert_allclose(result.optima[0].log_density, log_density, rtol=1e-12)
    assert (
        result.posterior["outlier"].shape == (1, 1, 4)
        and result.posterior["level"][0, 0] == result.optima[0].values["level"]
    )
    ends = plan.sampler(y)(jax.random.key(0), jnp.asarray(y))
    assert ends["level"].shape == (4,) and np.isfinite(np.asarray(ends["level"])).all()
    result.save(tmp_path / "found.nc")
    loaded = Result.load(tmp_path / "found.nc")
    for name, array in result.optima.arrays().items():
        np.testing.assert_array_equal(loaded.optima.arrays()[name], array, err_msg=name)
    assert repr(loaded) == repr(result) and "4/4  maximum" in repr(result)


def test_sites_and_options_that_cannot_be_are_refused_with_a_remedy():
    with pytest.raises(UnsupportedProgramError, match=r"discrete sites 'outlier\[0\]'|discrete sites 'outlier'"):
        inference.maximise(outliers)(0, np.zeros(4))
    with pytest.raises(LawfulError, match="a search leaves one point"):
        inference.maximise(coins, run=RunOptions(store="draws.zarr"))
    with pytest.raises(LawfulError, match="starts: expected an integer of 1 or more"):
        inference.maximise(coins, starts=0)


def ends(*rows):
    """Optima (log density, kind, searches) of one number."""
    count = len(rows)
    member = np.repeat(np.arange(count), [row[2] for row in rows])
    value = np.array([row[0] for row in rows])
    none = {"x": np.full(count, np.nan)}
    return Optima(
        none, none, {"x": np.zeros(count, np.int8)}, {"x": np.array([row[1] == "unbounded" for row in rows])}, value,
        np.array([KINDS.index(row[1]) for row in rows]), np.ones(count, int), np.zeros(0), value[member], member,
        member >= 0, 9 + member, 9 + member,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([(-1.0, "maximum", 4)], []),
        ([(-1.0, "maximum", 2), (-1.0, "maximum", 2)], []),
        ([(-1.0, "maximum", 2), (-3.0, "maximum", 2)], ["STARTS_DISAGREE"]),
        ([(-1.0, "maximum", 1), (-3.0, "maximum", 3)], ["LONE_OPTIMUM"]),
        ([(-1.0, "maximum", 3), (-3.0, "unbounded", 1)], ["STARTS_DISAGREE"]),
        ([(-1.0, "maximum", 3), (9.0, "unbounded", 1)], ["NO_MAXIMUM", "STARTS_DISAGREE"]),
        ([(-1.0, "unfinished", 4)], ["NOT_CONVERGED"]),
        ([(-1.0, "ridge", 4)], ["FLAT_DIRECTION"]),
    ],
    ids=str,
)
def test_the_verdict_follows_from_the_ends(rows, told):
    """Equal values agree; a lower end on the way to infinity is an end as any other, a higher one no maximum."""
    assert [finding.code for finding in verdict(ends(*rows), 500)] == told


def test_marks_name_numbers_by_their_place():
    assert marked({"a": np.array(1), "b": np.array([[0, 1]])}) == ("a", "b[0, 1]")


def classes():
    """Two classes with shares, beside two slopes that are no classes."""
    lawful.sample("slopes", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    lawful.sample("shares", dist.Dirichlet(jnp.ones(2)))
    with lawful.plate("class", 2):
        lawful.sample("level", dist.Normal(0.0, 1.0).expand([2]).to_event(1))


def test_points_that_differ_in_the_order_of_the_elements_of_a_plate_are_one_optimum():
    """Also where another site has as many numbers; where a program has no plate, all axes of one length change."""
    choices, a, b = choices_of(lawful.trace(classes)), np.array([1.0, 2.0]), np.array([0.3, 0.7])
    level = np.array([[0.0, 4.0], [5.0, 6.0]])

    def same(*parts):
        here, there = (np.concatenate([np.ravel(x) for x in own]) for own in ((a, b, level), parts))
        return _exchanged(choices, SimpleNamespace(values=here), SimpleNamespace(values=there))

    assert same(a, b[::-1], level[::-1]) and same(a[::-1], b[::-1], level[::-1])
    assert not same(a[::-1], b, level) and not same(a, b, level[::-1]) and not same(a, b[::-1], level[:, ::-1])


def by_logarithm(x, y):
    """The regression with the logarithm of its standard deviation."""
    slopes, log_sd = flat("slopes", shape=(2,)), flat("log_sd")
    with lawful.plate("row", len(y)):
        lawful.sample("y", dist.Normal(x @ slopes, jnp.exp(log_sd)), obs=y)


@pytest.mark.slow
def test_a_program_in_other_parameters_has_the_same_optimum_also_from_starts_that_are_given(fitted):
    start = {"slopes": np.zeros((2, 2)), "log_sd": np.array([0.0, 1.0])}
    for settings in ({"starts": 4}, {"starts": 2, "init": start}, {"starts": 2, "init": {"log_sd": 0.5}}):
        if "init" in settings and len(settings["init"]) == 1:
            with pytest.raises(LawfulError):  # there is no prior to draw the others from
                inference.maximise(by_logarithm, **settings)(3, X, Y)
            continue
        best = inference.maximise(by_logarithm, **settings)(3, X, Y).optima[0]
        np.testing.assert_allclose(best.log_density, fitted.optima[0].log_density, rtol=1e-13)
        np.testing.assert_allclose(best.values["slopes"], fitted.optima[0].values["slopes"], rtol=1e-9)
        np.testing.assert_allclose(np.exp(best.values["log_sd"]), fitted.optima[0].values["sd"], rtol=1e-9)


@pytest.mark.slow
def test_in_single_precision_it_is_the_same_to_single_precision(fitted):
    with jax.enable_x64(False):
        result = inference.maximise(regression, starts=4)(0, X.astype(np.float32), Y.astype(np.float32))
    np.testing.assert_allclose(result.optima[0].values["slopes"], fitted.optima[0].values["slopes"], rtol=1e-3)
    np.testing.assert_allclose(result.optima[0].errors["slopes"], fitted.optima[0].errors["slopes"], rtol=1e-3)
    assert result.ok and result.optima[0].kind == "maximum"


@pytest.mark.slow
def test_without_any_start_the_sites_are_named():
    def nowhere(y):
        lawful.factor("never", jnp.where(lawful.sample("x", dist.Normal(0.0, 1.0)) > 1e9, y, -jnp.inf))

    with pytest.raises(NoFiniteStartError, match="16 tries"):
        inference.maximise(nowhere, starts=2)(0, 1.0)
    assert codes(inference.maximise(nowhere, starts=2, on_fault="flag")(0, 1.0)) == {"NO_FINITE_START"}
