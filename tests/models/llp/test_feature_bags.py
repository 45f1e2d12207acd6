"""Bags that follow from the covariates are told, and bags of random rows never."""

import warnings

import numpy as np
import pytest

from lawful.models.llp import Bags, FeatureBagsWarning, LabelProportionSelfTraining
from lawful.models.llp.bags.feature_bags import made_by_features

RANDOM = np.random.default_rng(0)
CITY, TRADE = RANDOM.integers(0, 5, 400), RANDOM.integers(0, 3, 400)
AGE = RANDOM.normal(size=400)
NOISE = RANDOM.normal(size=(400, 2))


def hot(codes):
    return (codes[:, None] == np.unique(codes)).astype(float)


def of(*columns):
    return np.column_stack([*columns, NOISE])


def numbered(*columns):
    return np.unique(np.column_stack(columns), axis=0, return_inverse=True)[1].reshape(-1)


MADE = {
    "a category, one column for each value": (of(hot(CITY)), numbered(CITY), range(5), None),
    "a category as a number": (of(CITY), numbered(CITY), [0], None),
    "two categories": (of(hot(CITY), hot(TRADE)), numbered(CITY, TRADE), range(8), None),
    "a number, cut": (of(AGE), np.digitize(AGE, [-1, -0.2, 0.3, 1]), [], 0),
    "a category and a number, cut": (of(hot(CITY), AGE), numbered(CITY, AGE > 0.1), range(5), 5),
}


@pytest.mark.parametrize("name", MADE)
def test_columns_that_bags_were_made_by_are_found(name):
    X, ids, equal, parting = MADE[name]
    found = made_by_features(X, Bags.from_ids(ids))
    assert found.equal.tolist() == list(equal) and found.parting == parting
    assert made_by_features(X, Bags.from_ids(RANDOM.permutation(ids))) is None


@pytest.mark.parametrize(
    ("X", "ids"),
    [
        (of(hot(CITY)), 10 * CITY + RANDOM.integers(0, 9, 400)),  # random within cities: no column tells which
        (of(hot(CITY)), np.arange(400)),  # labels of rows
        (of(np.where(np.arange(400) < 2, 1.0, 0.0)), np.arange(400) // 2),  # a rare value that is in one bag by chance
        (np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([0, 0, 1, 1])),  # too few rows to be sure
        (np.ones((400, 3)), numbered(CITY)),
        (of(hot(CITY)), np.where(CITY < 1, 0, -1)),  # one bag
    ],
    ids=["random within", "rows", "rare", "few", "constant", "one bag"],
)
def test_bags_that_no_column_tells_are_not(X, ids):
    assert made_by_features(X, Bags.from_ids(numbered(ids) - int((ids < 0).any()))) is None


def test_chance_takes_no_bags_of_random_rows_for_made_ones():
    """Small bags and columns that hardly vary, where chance is most likely to."""
    rng = np.random.default_rng(1)
    for _ in range(300):
        n = int(rng.integers(4, 30))
        X = (rng.random((n, 6)) < rng.random(6)).astype(float)
        assert made_by_features(X, Bags.from_ids(rng.permutation(n) // int(rng.integers(2, 5)))) is None


def test_bags_some_at_a_time_are_all_bags(monkeypatch):
    truth = [made_by_features(X, Bags.from_ids(ids)) for X, ids, *_ in MADE.values()]
    monkeypatch.setattr("lawful.models.llp.bags.members.ROWS", 90)
    for (X, ids, *_), before in zip(MADE.values(), truth, strict=True):
        found = made_by_features(X, Bags.from_ids(ids))
        assert found.equal.tolist() == before.equal.tolist() and found.parting == before.parting


@pytest.mark.slow
def test_a_fit_warns_once_and_notes_it():
    X, y = of(CITY), (NOISE[:, 0] > 0).astype(int)
    model = LabelProportionSelfTraining("ridge", coupling="off", random_state=0)
    with pytest.warns(FeatureBagsWarning, match="follows from column 0, so these tell every count.*Fix: leave") as told:
        fitted = model.fit(X, y, CITY)
    assert len(told) == 1
    assert fitted.notes_[0].startswith("the bag of a row follows from column 0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = model.fit(X, y, RANDOM.permutation(CITY))
    assert not any("follows" in note for note in other.notes_)
