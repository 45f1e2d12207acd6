"""Laws of the groups log_likelihood and log_prior: they sum to the log density, and loo and psense read them."""

import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import factor, inference, plate, sample
from lawful.errors import LawfulError
from lawful.form.choices import choices_of
from lawful.inference.results.collect import from_chains
from lawful.inference.results.log_densities import densities
from tests.ppl.programs import PROGRAMS


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", ["straight", "chain", "branches", "scopes"])
def test_both_groups_sum_to_the_log_density(name):
    program, args = PROGRAMS[name]
    form = lawful.trace(program, *args)
    prior = inference.predictive(None, program, *args, draws=4, key=2)
    found = densities(form, args, {c.name: prior[c.name] for c in choices_of(form)})
    both = {**found.log_likelihood, **found.log_prior}
    totals = sum(a.reshape(*a.shape[:2], -1).sum(axis=-1) for a in both.values())
    for k in range(4):
        at = {c.address: np.nan_to_num(prior[c.name][0, k]) for c in choices_of(form)}
        assert abs(totals[0, k] - float(form.log_density(at, *args))) < 1e-10 * max(1, abs(totals[0, k]))
    for part, array in both.items():
        assert array.ndim == 2 + len(found.dims[part])


def regression(x, y):
    slope = sample("slope", dist.Normal(0.0, 1.0))
    factor("penalty", -0.1 * slope**2, role="prior")
    factor("bonus", 0.1 * slope)
    with plate("row", len(x)):
        sample("y", dist.Normal(slope * x, 0.5), obs=y)


X = np.linspace(-1, 1, 30)
Y = 0.5 * X + 0.3 * np.cos(7 * X)


@pytest.fixture(scope="module")
def fitted():
    """Draws near the posterior, which is all that the groups need."""
    precision = 1.2 + 4 * np.sum(X**2)
    slope = (4 * np.sum(X * Y) + 0.1) / precision + np.random.default_rng(1).normal(size=(4, 250)) / precision**0.5
    return from_chains({"slope": slope}, form=lawful.trace(regression, X, Y), model=regression, args=(X, Y))


def test_the_terms_are_pointwise_and_a_factor_has_the_role_that_it_declares(fitted):
    tree = fitted.to_datatree()
    assert set(tree["log_likelihood"].data_vars) == {"y", "bonus"}
    assert set(tree["log_prior"].data_vars) == {"slope", "penalty"}
    assert tree["log_likelihood"].y.dims == ("chain", "draw", "row")
    expected = dist.Normal(fitted.posterior["slope"][..., None] * X, 0.5).log_prob(Y)
    np.testing.assert_allclose(tree["log_likelihood"].y.values, expected, rtol=1e-12)
    assert "log_likelihood" not in fitted.to_datatree(log_likelihood=False).children
    assert tree["constant_data"].x.shape == (30,)


def test_loo_and_psense_run_on_a_result(fitted):
    loo = fitted.loo("y", pointwise=True)
    assert loo.elpd_i.shape == (30,) and np.isfinite(loo.elpd) and loo.n_data_points == 30
    table = fitted.psense(var_names=["slope"])
    assert list(table.index) == ["slope"] and {"prior", "likelihood"} <= set(table.columns)


def test_a_result_that_lacks_draws_says_which():
    def two(y):
        sample("y", dist.Normal(sample("mu", dist.Normal(0.0, 1.0)), sample("sd", dist.HalfNormal(1.0))), obs=y)

    partial = from_chains({"mu": np.zeros((1, 4))}, form=lawful.trace(two, 0.0), args=(0.0,))
    with pytest.raises(LawfulError, match="none of sd"):
        partial.to_datatree(log_prior=True)
    assert "log_prior" not in partial.to_datatree().children
    with pytest.raises(LawfulError, match="does not know its program"):
        from_chains({"slope": np.zeros((1, 4))}).loo()


def test_the_batch_size_changes_rounding_alone(fitted):
    whole = fitted.to_datatree()["log_likelihood"].y.values
    again = fitted.to_datatree(batch_size=97)["log_likelihood"].y.values
    np.testing.assert_allclose(again, whole, rtol=1e-12)
