"""A regression on a grid of shares is, for each share, its program with the weights integrated out."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError

SHARES, V = np.array([0.1, 0.5, 0.9]), 0.7
RANDOM = np.random.default_rng(0)
WIDE, LONG = RANDOM.normal(size=(4, 6)), RANDOM.normal(size=(7, 3))
CASES = {"fewer rows than columns": WIDE, "more": LONG, "columns that repeat": LONG[:, [0, 1, 1]]}


def model(Z, y, share):
    w = lawful.sample("w", dist.Normal(0.0, jnp.sqrt(share * V)).expand((Z.shape[1],)).to_event(1))
    with lawful.plate("row", len(Z)):
        lawful.sample("y", dist.Normal(Z @ w, jnp.sqrt((1 - share) * V)), obs=y)


def dense(Z, y, share):
    """The posterior mean of w by the covariance of y."""
    return share * V * Z.T @ np.linalg.solve(V * (share * Z @ Z.T + (1 - share) * np.eye(len(y))), y)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", CASES)
def test_evidence_and_weights_are_those_of_the_program(name):
    Z = CASES[name]
    y = RANDOM.normal(size=len(Z))
    found = inference.share_regression(Z, y, variance=V, shares=SHARES)
    collapsed = inference.integrate_normals(["w"])
    for number, share in enumerate(SHARES):
        exact = inference.enumeration(lawful.trace(model, Z, y, share), collapsed).marginal
        np.testing.assert_allclose(found.log_evidence[number], exact.log_density({}, Z, y, share), rtol=1e-12)
        np.testing.assert_allclose(found.weights(np.eye(3)[number]), dense(Z, y, share), atol=1e-12)
    by = np.array([0.2, 0.3, 0.4])
    mixed = sum(b * dense(Z, y, share) for b, share in zip(by, SHARES, strict=True))
    np.testing.assert_allclose(found.weights(by), mixed, atol=1e-12)


@pytest.mark.parametrize("Z", CASES.values(), ids=CASES)
def test_sums_over_rows_say_as_much_as_rows(Z):
    y = RANDOM.normal(size=len(Z))
    rows = inference.share_regression(Z, y, variance=V, shares=SHARES)
    sums = inference.share_regression_of_sums(Z.T @ Z, Z.T @ y, y @ y, len(y), variance=V, shares=SHARES)
    np.testing.assert_allclose(sums.log_evidence, rows.log_evidence, rtol=1e-10)
    np.testing.assert_allclose(sums.weights(np.ones(3)), rows.weights(np.ones(3)), atol=1e-10)


@pytest.mark.parametrize("Z", CASES.values(), ids=CASES)
def test_without_a_row_the_mean_is_that_of_the_others(Z):
    y, by = RANDOM.normal(size=len(Z)), np.array([0.2, 0.3, 0.5])
    found = inference.share_regression(Z, y, variance=V, shares=SHARES)
    change = found.without_each(Z, y, by)
    for row in range(len(y)):
        kept = np.arange(len(y)) != row
        others = inference.share_regression(Z[kept], y[kept], variance=V, shares=SHARES)
        np.testing.assert_allclose(found.weights(by) - change[row], others.weights(by), atol=1e-10)


def test_a_share_or_a_variance_that_cannot_be_is_refused():
    with pytest.raises(LawfulError, match=r"shares=\[0.5, 1.0\]. Fix: give numbers between 0 and 1"):
        inference.share_regression(LONG, LONG[:, 0], variance=V, shares=[0.5, 1.0])
    with pytest.raises(LawfulError, match="variance=0.0. Fix: give a positive number"):
        inference.share_regression(LONG, LONG[:, 0], variance=0.0, shares=[0.5])
