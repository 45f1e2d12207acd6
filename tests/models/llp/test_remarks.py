"""Remarks on a fit: settings that it does not read are named, and no others."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB

from lawful.models.llp import Bags, LabelProportionSelfTraining, labelled
from lawful.models.llp.learners import FromClassifier, Process, Ridge
from lawful.models.llp.remarks import missed, unread

BAGS = Bags.from_ids(np.arange(80) // 4, np.full(20, 2))
CERTAIN = Bags.from_ids([0, 1], [1, 0])
USUAL = {"cross_fit": "auto", "coupling": "auto"}


@pytest.mark.parametrize(
    ("settings", "bags", "learner", "name"),
    [
        ({"cross_fit": 40}, BAGS, Ridge(), "cross_fit=40"), ({"cross_fit": 5}, BAGS, Process(), "cross_fit=5"),
        ({"coupling": 0.5}, CERTAIN, Ridge(), "coupling=0.5"),
    ],
    ids=str,
)  # fmt: skip
def test_a_setting_that_is_not_read_is_named(settings, bags, learner, name):
    (told,) = unread(USUAL | settings, bags, learner)
    assert told.startswith(f"{name} was not read")


@pytest.mark.parametrize(
    ("settings", "bags", "learner"),
    [
        ({}, BAGS, Ridge()), ({"cross_fit": 5}, BAGS, Ridge()), ({"cross_fit": 0}, BAGS, Process()),
        ({"cross_fit": 5}, BAGS, FromClassifier(lambda seed: GaussianNB())), ({"coupling": 0.5}, BAGS, Ridge()),
        ({"coupling": "off"}, CERTAIN, Ridge()), ({"coupling": 0}, CERTAIN, Ridge()), ({}, CERTAIN, Ridge()),
    ],
)  # fmt: skip
def test_a_setting_that_is_read_or_usual_is_not_named(settings, bags, learner):
    assert unread(USUAL | settings, bags, learner) == ()


def test_a_fit_notes_what_it_did_not_read():
    X = np.random.default_rng(0).normal(size=(16, 2))
    model = LabelProportionSelfTraining("ridge", coupling="off", cross_fit=40)
    assert model.fit_bags(X, np.arange(16) // 4, [1] * 4).notes_[0].startswith("cross_fit=40 was not read")


def test_labels_that_miss_their_counts_are_noted():
    bags = Bags.from_ids([0, 0], [1])
    told = labelled(np.zeros(2), bags)
    assert missed(told, bags) == () and missed(None, bags) == ()
    assert missed(replace(told, count_error=float("nan")), bags) == ()
    assert "miss a count by 0.5" in missed(replace(told, count_error=0.5), bags)[0]
