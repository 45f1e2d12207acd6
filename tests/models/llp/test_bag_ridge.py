"""Bag ridge: the sums of bags, the penalty of the least error on left-out bags, columns without variation."""

import numpy as np
import pytest

from benchmarks.studies.label_proportions.baselines import singletons
from lawful.errors import ObservationError
from lawful.models.llp import Bags
from lawful.models.llp.training.bag_ridge import PENALTIES, BagRidge, bag_sums, ridge

RANDOM = np.random.default_rng(8)


@pytest.mark.parametrize("rows", [12, 4], ids=["more bags than columns", "fewer"])
def test_errors_of_left_out_bags_are_those_of_refits(rows):
    Z, t = RANDOM.normal(size=(rows, 6)), RANDOM.normal(size=rows)
    penalties = np.array([0.5, 20.0])
    beta, best, errors = ridge(Z, t, penalties)

    def solution(Z, t, penalty):
        return np.linalg.solve(Z.T @ Z + penalty * np.eye(6), Z.T @ t)

    for penalty, error in zip(penalties, errors, strict=True):
        keep = [np.delete(np.arange(rows), b) for b in range(rows)]
        left = [t[b] - Z[b] @ solution(Z[keep[b]], t[keep[b]], penalty) for b in range(rows)]
        np.testing.assert_allclose(error, np.mean(np.square(left)), rtol=1e-10)
    assert best == penalties[np.argmin(errors)]
    np.testing.assert_allclose(beta, solution(Z, t, best), rtol=1e-8)


def test_sums_and_targets_have_the_variance_of_one_row():
    X, y = RANDOM.normal(size=(10, 2)), RANDOM.integers(0, 2, 10)
    bags = Bags.from_labels(y, [0, 0, 0, 1, 1, -1, 2, 2, 2, 2])
    Z, t = bag_sums(X, bags)
    inside = np.arange(10) != 5
    for b in range(3):
        m = bags.members_of(b)
        np.testing.assert_allclose(Z[b], X[m].sum(axis=0) / np.sqrt(len(m)))
        np.testing.assert_allclose(t[b], (y[m].sum() - len(m) * y[inside].mean()) / np.sqrt(len(m)))


def test_linear_labels_are_found_from_sums_of_bags():
    X = RANDOM.normal(size=(4000, 3))
    y = RANDOM.uniform(size=4000) < 0.5 + np.clip(X @ [0.15, -0.1, 0.0], -0.5, 0.5)
    fitted = BagRidge().fit(X, Bags.from_labels(y.astype(int), np.arange(4000) // 10))
    np.testing.assert_allclose(fitted.details["coefficients"], [0.15, -0.1, 0.0], atol=0.08)
    assert fitted.details["penalty"] in PENALTIES


def test_a_column_without_variation_and_a_far_row_do_no_harm():
    X = RANDOM.normal(size=(60, 3)).astype(np.float32)
    X[:, 1] = 0.13
    X[0, 2] = 1e6
    fitted = BagRidge().fit(X, Bags.from_labels((X[:, 0] > 0).astype(int), np.arange(60) // 4))
    assert fitted.details["coefficients"][1] == 0
    assert np.isfinite(fitted.logits(X)).all() and np.ptp(fitted.decision_function(X)) < 20


def test_log_odds_are_those_of_probabilities_around_the_base_rate():
    X = RANDOM.normal(size=(60, 2))
    bags = Bags.from_labels((X[:, 0] > 0).astype(int), np.arange(60) // 4)
    fitted = BagRidge().fit(X, bags)
    score, chance = fitted.decision_function(X), 1 / (1 + np.exp(-fitted.logits(X)))
    np.testing.assert_allclose(chance, np.clip(bags.base_rate + score - score.mean(), 0.01, 0.99), rtol=1e-12)


def test_bags_of_one_are_ridge_regression_on_labels():
    X, y = RANDOM.normal(size=(50, 4)), RANDOM.integers(0, 2, 50)
    fitted = BagRidge(penalties=(3.0,)).fit(X, singletons(y))
    S = (X - X.mean(axis=0)) / X.std(axis=0)
    expected = np.linalg.solve(S.T @ S + 3 * np.eye(4), S.T @ (y - y.mean()))
    np.testing.assert_allclose(fitted.details["coefficients"], expected, rtol=1e-10)


def test_counts_of_classes_are_refused():
    with pytest.raises(ObservationError, match="known count of ones"):
        BagRidge().fit(np.zeros((2, 1)), Bags.from_ids([0, 0], counts=[[1, 1, 0]]))
