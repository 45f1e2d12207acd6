"""Every baseline: what it may see, that it is a function of its seed, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.studies.label_proportions.baselines import (
    DLLP,
    BagRidge,
    CountEM,
    EasyLLP,
    Method,
    Proportion,
    SoftLabels,
)
from benchmarks.studies.label_proportions.data import load_llp
from lawful.errors import ObservationError
from lawful.models.llp import Bags
from lawful.models.llp.bag_process import BagProcess
from lawful.models.llp.training.network import Recipe

pytestmark = pytest.mark.slow  # these are other methods, which the library does not hold

SMALL = Recipe(hidden=(4,), rows=16, epochs=2)
METHODS = [
    DLLP(SMALL),
    EasyLLP(SMALL),
    CountEM(SMALL),
    SoftLabels(SMALL),
    BagRidge(),
    Proportion(),
    BagProcess(features=20),
]
RANDOM = np.random.default_rng(2)
X = RANDOM.normal(size=(48, 3)).astype(np.float32)
Y = (X[:, 0] + 0.3 * RANDOM.normal(size=48) > 0.4).astype(int)
IDS = np.arange(48) // 4


def named(methods):
    return pytest.mark.parametrize("method", methods, ids=lambda m: type(m).__name__)


@pytest.mark.kills("40d", method=BagRidge())
@named(METHODS)
def test_labels_moved_within_their_bags_give_the_same_fit_bit_by_bit(method):
    moved = Y.reshape(-1, 4)[:, [2, 0, 3, 1]].reshape(-1)
    assert not np.array_equal(moved, Y)
    first, second = (method.fit(X, Bags.from_labels(y, IDS), seed=1) for y in (Y, moved))
    assert isinstance(method, Method)
    for told in ("decision_function", "logits"):
        assert np.array_equal(getattr(first, told)(X), getattr(second, told)(X))


@named([method for method in METHODS if not isinstance(method, BagProcess)])
def test_a_row_in_no_bag_changes_nothing(method):
    """Of the bag process it is part of what gives covariates their scale."""
    first = method.fit(X, Bags.from_labels(Y, IDS))
    more = method.fit(np.concatenate([X, X[:1]]), Bags.from_labels(np.append(Y, 1 - Y[0]), np.append(IDS, -1)))
    assert np.array_equal(first.decision_function(X), more.decision_function(X))


@named(METHODS)
def test_bags_of_unequal_sizes_and_without_counts_are_taken(method):
    ids = np.repeat(np.arange(5), [1, 4, 9, 14, 20])
    counts = Bags.from_labels(Y, ids).counts.astype(float)
    z = method.fit(X, Bags.from_ids(ids, counts=np.where(np.arange(5) == 2, np.nan, counts))).logits(X)
    assert z.shape == (48,) and np.isfinite(z).all()


@named([method for method in METHODS if not isinstance(method, Proportion)])
def test_counts_tell_which_rows_are_ones(method):
    """Bags of two, and enough epochs; the soft labels are the worst, at about .9."""
    if hasattr(method, "recipe"):
        method = replace(method, recipe=Recipe(hidden=(8,), rows=32, epochs=40, learning_rate=0.01))
    z = method.fit(X, Bags.from_labels(Y, np.arange(48) // 2)).decision_function(X)
    assert np.mean(z[Y == 1][:, None] > z[Y == 0][None]) > 0.9


@named(METHODS)
def test_rows_that_are_not_finite_or_not_those_of_the_bags_are_refused(method):
    bags = Bags.from_labels(Y, IDS)
    broken = X.copy()
    broken[7, 2] = np.nan
    with pytest.raises(ObservationError, match="nan in row 7, column 2"):
        method.fit(broken, bags)
    with pytest.raises(ObservationError, match=r"X of shape \(47, 3\) and bags of 48 rows"):
        method.fit(X[1:], bags)


def test_the_proportion_of_rows_in_several_bags_is_a_mean_and_that_of_others_the_base_rate():
    bags = Bags.from_membership([[1, 1, 0, 0], [0, 1, 1, 0]], counts=[2, 0])
    posterior = Proportion().fit(np.zeros((4, 1)), bags).details["posterior"]
    assert posterior.tolist() == [1.0, 0.5, 0.0, 0.5]


@pytest.mark.slow
def test_nets_tell_digits_apart_from_counts_of_bags_of_eight(single_precision):
    """Five or more, or less: scikit-learn's digits, of which a fifth is for testing; all are in bags of eight."""
    digits = load_llp("digits")
    order = np.random.default_rng(0).permutation(len(digits.y))
    test, train = order[:360], order[360 : 360 + 1432]
    bags = Bags.from_labels(digits.y[train], np.arange(1432) // 8)
    recipe = Recipe(rows=64, epochs=10)
    for method in (DLLP(recipe), EasyLLP(recipe), CountEM(recipe)):
        z, y = method.fit(digits.X[train], bags).decision_function(digits.X[test]), digits.y[test]
        area = np.mean(z[y == 1][:, None] > z[y == 0][None])
        assert area > 0.85
