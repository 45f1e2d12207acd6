"""Remarks on a fit: settings that it does not read are named, and no others."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB

from lawful.models.llp import Bags, LabelProportionClassifier, Published, labelled
from lawful.models.llp.learners import learner_of
from lawful.models.llp.remarks import missed, unread

BAGS = Bags.from_ids(np.arange(80) // 4, np.full(20, 2))
USUAL = {name: each.default for name, each in inspect.signature(LabelProportionClassifier).parameters.items()}


def named(bags=BAGS, **settings):
    given = USUAL | settings
    return unread(given, USUAL, bags, learner_of(given["base"], max_iter=given["max_iter"]))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"cross_fit": 40, "base": "ridge"}, "cross_fit=40"), ({"cross_fit": 5}, "cross_fit=5"),
        ({"count_weight": 2.0}, "count_weight=2.0"), ({"count_weight": 2.0, "base": "ridge"}, "count_weight=2.0"),
        ({"count_weight": 2.0, "base": GaussianNB()}, "count_weight=2.0"), ({"max_iter": 9}, "max_iter=9"),
        ({"graph": "hidden"}, "graph='hidden'"),
        ({"method": Published(), "n_neighbors": 3, "max_iter": 4}, "max_iter, n_neighbors: not read"),
        ({"method": "published", "base": "ridge"}, "base: not read"),
        ({"coupling": 0.5, "bags": Bags.from_ids([0, 1], [1, 0])}, "coupling=0.5"),
    ],
    ids=str,
)  # fmt: skip
def test_a_setting_that_is_not_read_is_named(settings, name):
    (told,) = named(**settings)
    assert told.startswith(name)


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"cross_fit": 5, "base": "ridge"}, {"cross_fit": 0}, {"count_weight": 2.0, "base": "mlp"},
        {"coupling": 0.5},
        {"max_iter": 9, "base": "mlp"}, {"max_iter": 9, "base": "logistic"}, {"graph": "hidden", "base": "mlp"},
        {"method": "published", "random_state": 1, "verbose": 1}, {"count_weight": 1},
        {"coupling": "off", "bags": Bags.from_ids([0, 1], [1, 0])},
    ],
    ids=str,
)  # fmt: skip
def test_a_setting_that_is_read_or_usual_is_not_named(settings):
    assert named(**settings) == ()


def test_a_fit_notes_what_it_did_not_read():
    X = np.random.default_rng(0).normal(size=(16, 2))
    fitted = LabelProportionClassifier("ridge", coupling="off", count_weight=3.0).fit_bags(
        X, np.arange(16) // 4, [1] * 4
    )
    assert fitted.notes_[0].startswith("count_weight=3.0 was not read")


def test_labels_that_miss_their_counts_are_noted():
    bags = Bags.from_ids([0, 0], [1])
    told = labelled(np.zeros(2), bags)
    assert missed(told, bags) == () and missed(None, bags) == ()
    assert missed(replace(told, count_error=float("nan")), bags) == ()
    assert "miss a count by 0.5" in missed(replace(told, count_error=0.5), bags)[0]
