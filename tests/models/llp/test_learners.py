"""Learners: which process is fitted, and to what."""

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier

from lawful.models.llp import Bags, bag_process, count_process, learners
from lawful.models.llp.fitting import learned
from lawful.models.llp.labels.one_against_rest import fitted_to_one_label, one_label
from lawful.models.llp.learners import Net, Process
from lawful.models.llp.neighbourhood import Neighbourhood

RANDOM = np.random.default_rng(6)
X = RANDOM.normal(size=(240, 2))
Y = (X[:, 0] + RANDOM.normal(size=240) > 0).astype(int)


@pytest.mark.parametrize(("bags", "exact"), [(60, True), (40, False)])
def test_the_process_is_of_log_odds_from_fifty_bags_on(monkeypatch, bags, exact):
    called = []
    fit = count_process.CountProcess.fit
    monkeypatch.setattr(learners.CountProcess, "fit", lambda self, *a, **kw: (called.append(1), fit(self, *a, **kw))[1])
    rows = 4 * bags
    counts = Bags.from_labels(Y[:rows], np.arange(rows) // 4)
    fitted = Process(features=10).from_counts(X[:rows], counts, seed=0)
    assert bool(called) == exact and fitted.details["out_of_bag"]().shape == (rows,)


def test_sums_are_taken_of_many_rows(monkeypatch):
    monkeypatch.setattr(learners, "MANY", 239)
    fitted = Process(features=10).from_counts(X, Bags.from_labels(Y, np.arange(240) // 4), seed=0)
    sums = bag_process.BagProcess(features=10).fit(X, Bags.from_labels(Y, np.arange(240) // 4), seed=0)
    assert np.array_equal(fitted.logits(X), sums.logits(X))


def test_certain_labels_are_counts_of_bags_of_one():
    bags = Bags.from_labels(Y, np.arange(240) // 4)
    told = Process(features=10).from_labels(X, Y.astype(float), bags, count_weight=1.0, seed=0)
    alone = Process(features=10).from_counts(X, Bags.from_labels(Y, np.arange(240)), seed=0)
    np.testing.assert_allclose(told.logits(X), alone.logits(X))
    assert "out_of_bag" not in told.details


def test_scores_of_a_row_do_not_depend_on_the_rows_beside_it():
    sums = bag_process.BagProcess(features=30)
    for process in (sums, count_process.CountProcess(sums)):
        z = process.fit(X, Bags.from_labels(Y, np.arange(240) // 4)).logits
        np.testing.assert_allclose(z(X)[:3], [z(X[row : row + 1])[0] for row in range(3)], rtol=1e-9)


def test_rounds_are_made_for_learners_that_do_not_rest():
    assert Process.rounds == 0 and not hasattr(Net(), "rounds")


def test_every_seed_left_open_inside_a_base_is_set_and_no_other():
    base = BaggingClassifier(CalibratedClassifierCV(RandomForestClassifier(2), cv=2), n_estimators=1)
    made = learners.learner_of(base).make(7).get_params()
    seeds = {name: value for name, value in made.items() if name.endswith("random_state")}
    assert len(seeds) == 2 and set(seeds.values()) == {7}
    own = learners.learner_of(CalibratedClassifierCV(RandomForestClassifier(2, random_state=3), cv=2)).make(7)
    assert own.get_params()["estimator__random_state"] == 3


@pytest.mark.rest_slow
@pytest.mark.parametrize("steps", [1, 25])
def test_a_climb_that_was_cut_off_says_so(monkeypatch, steps):
    monkeypatch.setattr(count_process, "STEPS", steps)
    bags = Bags.from_labels(Y, np.arange(240) // 4)
    found = learned(X, bags, Process(features=10), neighbourhood=Neighbourhood("off"))
    details = found.fitted.details
    assert details["settled"] == (steps > 1) == (not any("had not settled" in note for note in found.notes))
    assert 1 <= details["iterations"] <= steps


def test_counts_of_one_label_tell_no_rows_apart():
    bags = Bags.from_labels(np.zeros(240, int), np.arange(240) // 4)
    z = fitted_to_one_label(bags).logits(X)
    np.testing.assert_allclose(1 / (1 + np.exp(-z)), 0.5 / 240, rtol=1e-12)
    full = fitted_to_one_label(Bags.from_labels(np.ones(240, int), np.arange(240) // 4)).logits(X)
    np.testing.assert_array_equal(full, -z)
    assert one_label(bags) and not one_label(Bags.from_labels(Y, np.arange(240) // 4))
