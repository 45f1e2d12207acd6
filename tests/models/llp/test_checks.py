"""Wrong input is refused at once, by its name, with what to do."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from lawful.errors import LawfulError, ObservationError
from lawful.models.llp import Bags, LabelProportionClassifier, LabelProportionSelfTraining, Normal

X = np.random.default_rng(0).normal(size=(24, 3))
IDS, COUNTS = np.arange(24) // 4, np.array([1, 2, 0, 4, 3, 1])
Y = np.random.default_rng(1).integers(0, 2, 24)
ONES = np.ones(24)


def classifier(**settings):
    return LabelProportionSelfTraining(**{"estimator": "ridge", "coupling": "off"} | settings)


@pytest.mark.parametrize(
    "setting",
    [
        {"coupling": "on"}, {"coupling": 1.0}, {"coupling": None}, {"coupling": True}, {"n_neighbors": 0},
        {"n_neighbors": 5.5}, {"metric": "manhattan"}, {"count_noise": 2.0}, {"count_noise": Normal}, {"rounds": -1},
        {"rounds": 1.5}, {"cross_fit": 1}, {"cross_fit": "no"}, {"estimator": LogisticRegression},
        {"n_components": 0},
    ],
    ids=str,
)  # fmt: skip
def test_a_setting_that_means_nothing_is_named(setting):
    name, value = next(iter(setting.items()))
    model = (LabelProportionClassifier if name == "n_components" else classifier)(**setting)
    for fit in (lambda: model.fit_bags(X, IDS, COUNTS), lambda: model.fit(X, Y, IDS)):
        with pytest.raises(LawfulError) as told:
            fit()
        assert f"{name}={value!r}. Fix: " in str(told.value)


def test_the_noise_of_a_fit_is_looked_at_too():
    with pytest.raises(LawfulError, match="count_noise='normal'.*Fix"):
        classifier().fit_bags(X, IDS, COUNTS, count_noise="normal")


@pytest.mark.parametrize(
    ("bags", "counts", "told"),
    [
        (IDS, [1, 2, 0, 5, 3, 1], "bag 3 has 4 members and the count 5.*look up"),
        (IDS, [1, 2, 0, -1, 3, 1], "bag 3 has 4 members and the count -1"),
        (IDS, [1, 2, 0.5, 1, 3, 1], "bag 2 is 0.5.*no whole number.*count_noise="),
        (IDS, [1, 2, np.inf, 1, 3, 1], "bag 2 are inf.*NaN for a bag"),
        (IDS, COUNTS[:4], "row 16 is in bag 4, and counts were given for 4 bags"),
        (IDS, np.append(COUNTS, 1), "bag 6 has 0 members.*no row is in this one"),
        (IDS, 3, r"shape \(\), one a bag.*one for every bag"),
        (IDS, None, "no bag with members and a known count.*give counts="),
        (IDS, [np.nan] * 6, "no bag with members and a known count.*give counts="),
        (np.full(24, -1), [], "no bag with members and a known count"),
        (IDS, list("120431"), "counts are text.*astype"),
        (IDS, COUNTS[:, None], r"shape \(6, 1\).*counts\[:, 0\]"),
        (IDS[:20], COUNTS, r"X has 24 rows, and bags of shape \(20,\).*bag of each row"),
        (IDS[:, None], COUNTS, r"bags\[:, 0\]"),
        ([f"r{i}" for i in IDS], COUNTS, "bags have names, and counts.*by name"),
        (csr_matrix((ONES, (np.arange(24), IDS))), COUNTS, "transpose it"),
        (csr_matrix((ONES / 2, (IDS, np.arange(24)))), COUNTS, "entry 0.5, expected zeros and ones"),
        (Bags.from_ids(IDS[:20], COUNTS[:5]), None, "X has 24 rows.*are of 20"),
    ],
)  # fmt: skip
def test_bags_and_counts_that_do_not_fit_are_refused(bags, counts, told):
    with pytest.raises(LawfulError, match=told) as error:
        classifier().fit_bags(X, bags, counts)
    assert "Fix: " in str(error.value)


@pytest.mark.parametrize("proportions", [[25, 50, 0, 100, 75, 25], [0.3, 0.5, 0, 1, 0.75, 0.25]])
def test_percentages_and_rounded_proportions_are_told_from_exact_ones(proportions):
    with pytest.raises(ObservationError, match="divide percentages by 100|Rounded"):
        classifier().fit_bags(X, IDS, proportions=proportions)


@pytest.mark.parametrize("classes", [["a", "b", "c"], ["a", "a"], "ab"])
def test_names_of_classes_are_as_many_as_are_counted_and_different(classes):
    with pytest.raises(ObservationError, match="give 2 different names"):
        classifier().fit_bags(X, IDS, COUNTS, classes=classes)


@pytest.mark.parametrize(
    ("bags", "told"),
    [
        (Bags.from_ids(IDS, COUNTS), "fit_bags"),
        (np.where(IDS == 1, np.nan, IDS), "bag of row 4 is nan.*-1"),
        ([None] + ["a"] * 23, "bag of row 0 is None.*-1"),
        (np.array([1, "a"] * 12, object), "several types"),
    ],
)
def test_names_of_bags_that_are_none_are_refused(bags, told):
    with pytest.raises(ObservationError, match=told):
        classifier().fit(X, Y, bags)


def test_counts_that_are_asked_of_a_fitted_classifier_fit_its_rows():
    fitted = classifier().fit_bags(X, IDS, COUNTS)
    for ask in (fitted.transduce, fitted.bag_log_likelihood):
        with pytest.raises(ObservationError, match="X has 8 rows.*are of 24"):
            ask(X[:8], IDS, COUNTS)
    with pytest.raises(ObservationError, match="no bag with members and a known count"):
        fitted.bag_log_likelihood(X, IDS)
