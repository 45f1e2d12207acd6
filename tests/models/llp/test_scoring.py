"""Scores of bags: counts are told, and no label of a row is read without a word."""

import numpy as np
import pytest
import sklearn
from scipy.sparse import csr_matrix
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold

from lawful.errors import LawfulError, ObservationError
from lawful.models.llp import LabelProportionSelfTraining, bag_scorer
from lawful.models.llp.scoring import bag_score

Y, HALF = np.array([0, 1, 1, 0]), np.full(4, 0.5)


def test_a_score_without_bags_is_refused_and_not_one_of_labels():
    with pytest.raises(ObservationError, match="no bags were given.*label of every row.*Fix: give bags="):
        bag_score(Y, HALF)


def test_a_scorer_that_bags_would_not_reach_is_refused_when_it_is_made():
    with pytest.raises(LawfulError, match="routing of metadata is off.*Fix: sklearn.set_config"):
        bag_scorer()


def test_a_search_never_scores_by_labels_of_rows():
    X, bags = np.arange(8.0)[:, None], np.arange(8) // 2
    y = np.tile(Y, 2)
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = bag_scorer()
        model = LabelProportionSelfTraining("ridge", coupling="off").set_fit_request(bags=True)
        search = GridSearchCV(model, {"rounds": [0]}, cv=GroupKFold(2), scoring=scorer, error_score="raise")
        with pytest.raises(LawfulError, match="no bags were given"):
            search.fit(X, y, groups=bags)
    with pytest.raises(LawfulError, match="no bags were given"):  # routing went off after the scorer was made
        scorer(DummyClassifier(strategy="prior").fit(X, y), X, y)


def test_a_score_of_no_bag_is_refused_and_bags_without_members_are_not_counted():
    with pytest.raises(ObservationError, match="bag_score: no row is in a bag.*Fix"):
        bag_score(Y, HALF, bags=np.full(4, -1))
    with pytest.raises(ObservationError, match=r"bag_score: X has 4 rows, and bags of shape \(3,\)"):
        bag_score(Y, HALF, bags=[0, 0, 0])
    one_empty = csr_matrix(np.array([[1, 1, 1, 1], [0, 0, 0, 0]]))
    np.testing.assert_allclose(bag_score(Y, HALF, bags=one_empty), bag_score(Y, HALF, bags=[0] * 4), rtol=1e-12)
