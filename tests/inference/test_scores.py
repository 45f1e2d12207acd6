"""Scores, information and errors: closed forms, finite differences, and what leaving elements out gives."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.inference import (
    compare,
    information,
    integrate_normals,
    leave_one_out,
    log_marginals,
    parameter_names,
    robust_errors,
    scores,
)
from lawful.inference.results.collect import from_chains
from lawful.inference.results.optima import Optimum

RNG = np.random.default_rng(20262)
X = np.column_stack([np.ones(8), RNG.normal(size=8)])


def line(x, y):
    """A regression with a known noise."""
    b = lawful.sample("b", dist.Normal(jnp.zeros(2), 10.0).to_event(1))
    with lawful.plate("i", len(y)):
        lawful.sample("y", dist.Normal(x @ b, 0.7), obs=y)


def normal(y):
    """Normal data."""
    mu, sd = lawful.sample("mu", dist.Normal(0.0, 9.0)), lawful.sample("sd", dist.HalfNormal(9.0))
    with lawful.plate("i", len(y)):
        lawful.sample("y", dist.Normal(mu, sd), obs=y)


def coins(x, y):
    """A logistic regression."""
    b = lawful.sample("b", dist.Normal(jnp.zeros(2), 10.0).to_event(1))
    with lawful.plate("i", len(y)):
        lawful.sample("y", dist.Bernoulli(logits=x @ b), obs=y)


def groups(y):
    """Groups with an effect each."""
    mu, spread = lawful.sample("mu", dist.Normal(0.0, 1.0)), lawful.sample("spread", dist.HalfNormal(1.0))
    with lawful.plate("group", y.shape[0], dim=-2):
        effect = lawful.sample("effect", dist.Normal(mu, spread))
        with lawful.plate("time", y.shape[1], dim=-1):
            lawful.sample("y", dist.Normal(effect, 1.1), obs=y)


def classes(y):
    """A mixture of two."""
    share, mu = lawful.sample("share", dist.Beta(1.0, 1.0)), lawful.sample("mu", dist.Normal(0.0, 3.0))
    with lawful.plate("i", len(y)):
        z = lawful.sample("z", dist.Bernoulli(share))
        lawful.sample("y", dist.Normal(mu * z, 1.0), obs=y)


def test_normal_data_by_hand_in_both_coordinates():
    y = RNG.normal(1.0, 2.0, size=9)
    found, at = log_marginals(normal, y), {"mu": 0.4, "sd": 1.7}
    r, s = y - 0.4, 1.7
    by = scores(found, at)
    np.testing.assert_allclose(by["mu"], r / s**2, rtol=1e-10)
    np.testing.assert_allclose(by["sd"], r**2 / s**3 - 1 / s, rtol=1e-10)
    free = scores(found, at, unconstrained=True)
    np.testing.assert_allclose(free["sd"], s * by["sd"], rtol=1e-10)  # sd is exp of its coordinate
    closed = [[9 / s**2, 2 * r.sum() / s**3], [2 * r.sum() / s**3, 3 * (r**2).sum() / s**4 - 9 / s**2]]
    np.testing.assert_allclose(information(found, at), closed, rtol=1e-10)
    rows = np.column_stack([by["mu"], by["sd"]])
    np.testing.assert_allclose(information(found, at, method="scores"), rows.T @ rows, rtol=1e-10)
    clusters = np.arange(9) % 3
    sums = np.array([rows[clusters == k].sum(0) for k in range(3)])
    np.testing.assert_allclose(information(found, at, method="scores", clusters=clusters), sums.T @ sums, rtol=1e-10)
    assert parameter_names(found) == ("mu", "sd")
    with pytest.raises(LawfulError, match=r"a label for each element, shape \(9,\), got \(3,\)"):
        information(found, at, method="scores", clusters=np.arange(3))


def test_a_logistic_regression_has_the_information_of_its_weights():
    y = (RNG.uniform(size=8) < 0.5).astype(int)
    found, b = log_marginals(coins, X, y), np.array([0.2, -0.4])
    p = 1 / (1 + np.exp(-X @ b))
    np.testing.assert_allclose(scores(found, {"b": b})["b"], (y - p)[:, None] * X, rtol=1e-10)
    np.testing.assert_allclose(information(found, {"b": b}), X.T @ np.diag(p * (1 - p)) @ X, rtol=1e-10)
    assert parameter_names(found) == ("b[0]", "b[1]")


def test_random_intercepts_have_the_scores_of_dense_algebra():
    y, at = RNG.normal(size=(5, 3)), {"mu": 0.2, "spread": 0.7}
    found = log_marginals(groups, y, plate="group", enumerate=integrate_normals(["effect"]))
    covariance = 1.1**2 * np.eye(3) + 0.7**2
    precision, ones = np.linalg.inv(covariance), np.ones(3)
    by_mean = (y - 0.2) @ precision @ ones
    by_spread = 0.7 * (by_mean**2 - ones @ precision @ ones)
    by = scores(found, at)
    np.testing.assert_allclose(by["mu"], by_mean, rtol=1e-10)
    np.testing.assert_allclose(by["spread"], by_spread, rtol=1e-10)
    ends = information(found, at)
    np.testing.assert_allclose(ends[0, 0], 5 * ones @ precision @ ones, rtol=1e-10)


def test_a_mixture_has_the_scores_of_its_responsibilities_and_finite_differences():
    y, at = RNG.normal(size=6), {"share": 0.3, "mu": 1.2}
    found = log_marginals(classes, y, enumerate=["z"])
    one, zero = (np.exp(dist.Normal(m, 1.0).log_prob(y)) for m in (1.2, 0.0))
    mass = 0.3 * one + 0.7 * zero
    by = scores(found, at)
    np.testing.assert_allclose(by["mu"], 0.3 * one / mass * (y - 1.2), rtol=1e-10)
    np.testing.assert_allclose(by["share"], (one - zero) / mass, rtol=1e-10)

    def likelihood(vector):
        return float(jnp.sum(found({"share": vector[0], "mu": vector[1]})))

    h, start, curvature = 1e-4, np.array([0.3, 1.2]), np.zeros((2, 2))
    steps = h * np.eye(2)
    for i, j in np.ndindex(2, 2):
        signs = ((1, 1), (1, -1), (-1, 1), (-1, -1))
        corners = [a * b * likelihood(start + a * steps[i] + b * steps[j]) for a, b in signs]
        curvature[i, j] = -sum(corners) / (4 * h**2)
    np.testing.assert_allclose(information(found, at), curvature, rtol=1e-6, atol=1e-6)


def test_robust_errors_of_a_line_and_what_leaves_one_out():
    y = X @ np.array([0.5, -1.0]) + RNG.normal(size=8) * np.exp(X[:, 1])
    found, b = log_marginals(line, X, y), np.linalg.solve(X.T @ X, X.T @ y)
    errors, bread = robust_errors(found, {"b": b}), np.linalg.inv(X.T @ X)
    meat = X.T @ np.diag((y - X @ b) ** 2) @ X
    np.testing.assert_allclose(errors.covariance, bread @ meat @ bread, rtol=1e-10)
    np.testing.assert_allclose(errors.model, 0.7 * np.sqrt(np.diagonal(bread)), rtol=1e-10)
    assert errors.gain < 1e-20
    assert errors.table.index.tolist() == ["b[0]", "b[1]"]
    assert "no maximum" in repr(robust_errors(found, {"b": b + 1.0}))
    best = Optimum({"b": b, "named": 1.0}, {}, {}, {}, 0.0, "maximum", 1, 1.0, 1, None)
    left = leave_one_out(found, best)
    refits = np.array([np.linalg.lstsq(np.delete(X, k, 0), np.delete(y, k), rcond=None)[0] for k in range(8)])
    np.testing.assert_allclose(left.values["b"], refits, rtol=1e-10)
    alone = dist.Normal(np.sum(X * refits, 1), 0.7).log_prob(y)
    np.testing.assert_allclose(left.log_densities, alone, rtol=1e-10)
    assert left.elpd == pytest.approx(float(alone.sum()))


@pytest.mark.kills("42j")
def test_groups_of_elements_have_sums_and_are_left_out_together():
    y, person = X @ np.array([0.5, -1.0]) + RNG.normal(size=8), np.array(list("baabbcca"))
    found, b = log_marginals(line, X, y), np.linalg.solve(X.T @ X, X.T @ y)
    by, own = found.grouped(person, "person"), [person == name for name in "abc"]
    assert (by.plates, by.shape, list(by.coords["person"])) == (("person",), (3,), ["a", "b", "c"])
    np.testing.assert_allclose(by({"b": b}), [found({"b": b})[rows].sum() for rows in own], rtol=1e-12)
    each, sums = scores(found, {"b": b})["b"], scores(by, {"b": b})["b"]
    np.testing.assert_allclose(sums, [each[rows].sum(0) for rows in own], rtol=1e-10, atol=1e-12)
    errors = [robust_errors(found, {"b": b}, clusters=person), robust_errors(by, {"b": b})]
    np.testing.assert_allclose(errors[0].covariance, errors[1].covariance, rtol=1e-10)
    left = leave_one_out(by, {"b": b}).values["b"]
    refits = [np.linalg.lstsq(X[~rows], y[~rows], rcond=None)[0] for rows in own]
    np.testing.assert_allclose(left, refits, rtol=1e-10)
    with pytest.raises(LawfulError, match=r"labels: expected a label for each element, shape \(8,\), got \(3,\)"):
        found.grouped(np.arange(3))
    with pytest.raises(LawfulError, match=r"labels: some elements have the label NaN. Fix"):
        found.grouped(np.array([0.0, np.nan] * 4))


def test_what_has_no_scores_or_no_errors_is_refused():
    y = np.zeros(3)
    with pytest.raises(UnsupportedProgramError, match="'z' .* which stays, is discrete.*Fix: sum it out"):
        scores(log_marginals(classes, y), {"share": 0.3, "mu": 0.0, "z": np.zeros(3, int)})
    found = log_marginals(classes, y, enumerate=["z"])
    with pytest.raises(LawfulError, match="does not fall in some direction, along share.*Fix"):
        robust_errors(found, {"share": 0.3, "mu": 0.0})
    with pytest.raises(LawfulError, match="method: expected 'curvature' or 'scores', got 'fisher'"):
        information(found, {"share": 0.3, "mu": 0.0}, method="fisher")


def test_draws_are_scored_by_the_vector():
    y = RNG.normal(size=6)
    draws = {"share": RNG.uniform(0.2, 0.4, size=(2, 50)), "mu": RNG.normal(size=(2, 50))}
    found = log_marginals(classes, y, enumerate=["z"])
    result = from_chains(draws)
    group = result.to_datatree(log_likelihood=found)["log_likelihood"]["y"]
    assert group.dims == ("chain", "draw", "i")
    np.testing.assert_allclose(group[1, 3], found({n: x[1, 3] for n, x in draws.items()}), rtol=1e-12)
    one = result.loo(log_likelihood=found)
    assert one.n_data_points == 6
    table = compare({"a": result}, by="loo", log_likelihood={"a": found})
    assert table.loc["a", "elpd"] == pytest.approx(float(one.elpd))
    with pytest.raises(LawfulError, match="the result has none of mu. Fix"):
        from_chains({"share": draws["share"]}).to_datatree(log_likelihood=found)
