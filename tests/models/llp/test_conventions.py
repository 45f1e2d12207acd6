"""The classifier's face: scikit-learn's conventions, learners of other libraries, and input that is refused."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from lawful.errors import LawfulError, ObservationError
from lawful.models.llp import LabelProportionClassifier, LabelProportionSelfTraining
from lawful.models.llp.scoring import bag_score, bag_scorer
from tests.models.llp.test_classifier import SIZE, N, classifier, rows_of


@pytest.mark.rest_slow
@pytest.mark.parametrize("base", ["logistic", LogisticRegression(), GaussianNB()])
def test_any_classifier_that_takes_weights_can_be_the_learner(base):
    X, y, bags = rows_of()
    fitted = classifier(base, coupling="off", cross_fit=0).fit(X, y, bags)
    assert np.mean(fitted.predict(X) == y) > 0.85


class Failing(GaussianNB):
    """A classifier whose fit goes wrong by itself."""

    def fit(self, X, y, sample_weight=None):
        raise TypeError("a bug of its own")


def test_an_error_of_a_learner_is_its_own_and_weights_are_missed_where_there_are_none():
    X, y, bags = rows_of()
    with pytest.raises(TypeError, match="a bug of its own"):
        classifier(Failing(), coupling="off", cross_fit=0).fit(X, y, bags)
    with pytest.raises(LawfulError, match="estimator=Pipeline does not take sample_weight.*Fix"):
        classifier(make_pipeline(StandardScaler(), LogisticRegression())).fit(X, y, bags)
    with pytest.raises(LawfulError, match="estimator=array.*Fix"):
        classifier(np.array([1, 2])).fit(X, y, bags)


def test_wrong_input_is_refused_with_what_to_do():
    X, y, bags = rows_of()
    with pytest.raises(LawfulError, match="sample_weight.*Fix"):
        classifier(KNeighborsClassifier(), coupling="off").fit(X, y, bags)
    for estimator in ("forest", np.array([1, 2])):  # counts of one label alone included
        for labels in (y, np.zeros_like(y)):
            with pytest.raises(LawfulError, match="estimator=.*Fix: give 'mlp'"):
                classifier(estimator).fit_bags(X, bags, np.bincount(bags, labels))
    with pytest.raises(ObservationError, match="120 rows.*Fix"):
        classifier().fit(X, y, bags[:-1])
    with pytest.raises(ObservationError, match="bag 3 has 4 members"):
        classifier().fit_bags(X, bags, np.where(np.arange(N // SIZE) == 3, 5, 1))
    with pytest.raises(ObservationError, match="no row is in a bag"):
        classifier().fit(X, y, np.full(N, -1))
    with pytest.raises(LawfulError, match="Fix: give classes="):
        bag_score(["a", "a"], [0.1, 0.2], bags=[0, 0])


class ProcessOfRows(LabelProportionClassifier):
    """The classifier that a check, which knows no bags, can fit: every row is a bag of its own."""

    def fit(self, X, y, bags="rows"):
        return super().fit(X, y, bags)


class SelfTrainingOfRows(LabelProportionSelfTraining):
    """The same of the other one."""

    def fit(self, X, y, bags="rows"):
        return super().fit(X, y, bags)


CHECKED = {
    "ridge": SelfTrainingOfRows("ridge", random_state=0),
    "process": ProcessOfRows(random_state=0, n_components=50),
    "net": SelfTrainingOfRows(random_state=0),
}
# Of other array libraries, where an environment variable asks for them.
NOT_RUN = {"check_array_api_input"}


def checks_of(model):
    told = check_estimator(model, on_fail=None, on_skip=None)
    return {status: {each["check_name"]: each["exception"] for each in told if each["status"] == status}
            for status in ("passed", "failed", "skipped")}  # fmt: skip


def causes(error):
    """What an error says, and what it came from."""
    return "" if error is None else f"{error} {causes(error.__cause__ or error.__context__)}"


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKED)
def test_scikit_learn_finds_nothing_wrong(name):
    found = checks_of(CHECKED[name])
    assert found["failed"] == {} and found["skipped"].keys() <= NOT_RUN and len(found["passed"]) > 45


@pytest.mark.rest_slow
@pytest.mark.parametrize("model", [LabelProportionClassifier(), LabelProportionSelfTraining()], ids=["process", "net"])
def test_without_bags_scikit_learn_finds_that_they_are_missing_and_nothing_else(model):
    found = checks_of(model)
    assert len(found["passed"]) > 20 and len(found["failed"]) > 20
    assert {name for name, error in found["failed"].items() if "no bags were given" not in causes(error)} == set()


def test_bags_go_through_validation_and_search_by_bag():
    X, y, bags = rows_of()
    with sklearn.config_context(enable_metadata_routing=True):
        model = classifier(coupling="off", cross_fit=0).set_fit_request(bags=True)
        scorer = bag_scorer()
        told = cross_validate(
            model, X, y, params={"bags": bags, "groups": bags}, cv=GroupKFold(2), scoring=scorer,
            return_estimator=True, return_indices=True, error_score="raise",
        )  # fmt: skip
        for fitted, test, score in zip(told["estimator"], told["indices"]["test"], told["test_score"], strict=True):
            assert fitted.n_bags_ == 15
            counts = np.bincount(np.unique(bags[test], return_inverse=True)[1], y[test])
            own = fitted.bag_log_likelihood(X[test], np.unique(bags[test], return_inverse=True)[1], counts)
            np.testing.assert_allclose(score, own, rtol=1e-6)
        search = GridSearchCV(model, {"rounds": [0, 1]}, cv=GroupKFold(2), scoring=scorer, refit=False)
        search.fit(X, y, bags=bags, groups=bags)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_frames_of_pandas_and_polars_are_rows():
    X, y, bags = rows_of()
    names = ["a", "b", "c"]
    truth = classifier(coupling="off", cross_fit=0).fit(X, y, bags)
    for frame in (pd.DataFrame(X, columns=names), pl.DataFrame(X, schema=names)):
        fitted = classifier(coupling="off", cross_fit=0).fit(frame, y, bags)
        assert fitted.feature_names_in_.tolist() == names
        np.testing.assert_allclose(fitted.predict_proba(frame), truth.predict_proba(X), rtol=1e-6)
