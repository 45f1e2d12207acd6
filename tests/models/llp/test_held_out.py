"""Bags held out and folds: no fit sees a count that judges it."""

import numpy as np
import pytest

from lawful.models.llp import Bags
from lawful.models.llp.labels.held_out import cross_fitted, folds_of, held_out, without_counts
from lawful.models.llp.training.fitted import Fitted


def bags_of(number, size=2):
    return Bags.from_ids(np.arange(number * size) // size, counts=np.ones(number))


@pytest.mark.parametrize(("number", "held"), [(199, 0), (200, 20), (305, 30)])
def test_a_tenth_of_the_bags_is_held_out_or_none_where_that_is_too_few(number, held):
    assert held_out(bags_of(number), seed=3).sum() == held


@pytest.mark.kills("40v")
def test_bags_that_share_rows_are_held_out_together():
    ids = np.arange(600)
    membership = np.zeros((300, 600))
    membership[ids // 2, ids] = 1
    membership[2 * (np.arange(150)), 4 * np.arange(150) + 2] = 1  # bags 2 j and 2 j + 1 share a row
    bags = Bags.from_membership(membership, counts=np.ones(300))
    held = held_out(bags, seed=0)
    assert held.sum() >= 30
    assert np.array_equal(held[::2], held[1::2])
    folds = folds_of(bags, 5, seed=0)
    assert np.array_equal(folds[::2], folds[1::2])


@pytest.mark.kills("40j")
def test_log_odds_of_a_row_come_from_a_fit_without_the_count_of_its_bag():
    bags = without_counts(bags_of(10), np.arange(10) == 9)
    rows = np.arange(20)

    def fit(shown):
        seen = shown.known[rows // 2]  # the rows whose counts the fit has read
        return Fitted(lambda X: seen[X[:, 0].astype(int)] * 1.0, lambda X: seen[X[:, 0].astype(int)] * 1.0)

    z = cross_fitted(fit, rows[:, None], bags, fit(bags), number=3, seed=0)
    assert np.array_equal(z, np.zeros(20))  # in no fit, nor is the bag without a count
