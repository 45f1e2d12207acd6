"""Rounds: when they stop, and what they may read."""

from dataclasses import replace

import numpy as np
import pytest

from lawful.models.llp import Bags, calibrated
from lawful.models.llp.labelling import Labelling, labelled
from lawful.models.llp.labels.held_out import without_counts
from lawful.models.llp.rounds import Rounds, train
from lawful.models.llp.training.fitted import Fitted

N_BAGS, SIZE = 240, 4


class Told:
    """Log odds read off a table by the number of the row; records what it was shown."""

    def __init__(self, first, later):
        self.first, self.later = first, later
        self.known, self.fits = [], 0

    def from_counts(self, X, bags, *, seed):
        self.known.append(bags.known)
        return self._fitted(self.first)

    def from_labels(self, X, labels, bags, *, count_weight, seed):
        self.known.append(bags.known)
        self.fits += 1
        return self._fitted(self.later[min(self.fits, len(self.later)) - 1])

    def _fitted(self, z):
        return Fitted(lambda X: z[X[:, 0].astype(int)], lambda X: z[X[:, 0].astype(int)])


def told_rows():
    rng = np.random.default_rng(0)
    z = rng.normal(size=N_BAGS * SIZE) * 2
    y = rng.random(z.size) < 1 / (1 + np.exp(-z))
    return z, Bags.from_labels(y.astype(int), np.arange(z.size) // SIZE), rng.normal(size=z.size)


def alone(z, bags, fitted):
    return labelled(z, bags)


def run(learner, bags, label=alone, **settings):
    X = np.arange(bags.n_rows)[:, None]
    return train(X, bags, learner, label, Rounds(folds=0, **settings), seed=1)


@pytest.mark.slow
def test_a_round_is_kept_only_where_held_out_counts_are_told_better():
    z, bags, noise = told_rows()
    better, same = Told(noise, [z, z]), Told(z, [z])
    found = run(better, bags)
    assert [r.number for r in found.rounds] == [0, 1, 2] and found.best == 1  # the second was no better
    first = found.rounds[1]
    assert first.gain > first.gain_error > 0
    stopped = run(same, bags)
    assert len(stopped.rounds) == 2 and stopped.best == 0 and stopped.rounds[1].gain == 0


@pytest.mark.slow
@pytest.mark.kills("40i")
def test_held_out_counts_are_read_by_no_fit_before_the_last():
    z, bags, noise = told_rows()
    learner = Told(noise, [z, z])
    shown = []

    def label(z, bags, fitted):
        shown.append(bags.known)
        return labelled(z, bags)

    found = run(learner, bags, label)
    assert [known.sum() for known in learner.known] == [216, 216, 216, 240, 240]
    assert [known.sum() for known in shown] == [216, 216, 240]
    sums = np.bincount(np.arange(z.size) // SIZE, found.labelling.posterior)
    np.testing.assert_allclose(sums, bags.counts, atol=1e-9)


def test_with_few_bags_one_round_is_made_and_it_says_so():
    z, bags, noise = told_rows()
    few = without_counts(bags, np.arange(N_BAGS) >= 150)
    learner = Told(noise, [z])
    found = run(learner, few)
    assert len(found.rounds) == 2 and found.best == 1 and "fewer than 20" in found.notes[0]
    assert np.isnan(found.rounds[1].held_out)
    assert all(np.array_equal(known, few.known) for known in learner.known)


@pytest.mark.parametrize("verdict", ["oscillating", "nonfinite"])
def test_messages_that_do_not_settle_are_never_fitted_to(verdict):
    z, bags, _ = told_rows()
    learner = Told(z, [z])

    def label(z, bags, fitted):
        q = np.full(z.shape, 0.5)
        return Labelling(q, 0.0, "bethe", verdict, 1.0, 100, 0.1, 0.9, ((0.9, verdict),), 1.0)

    found = run(learner, bags, label)
    assert learner.fits == 0 and found.best == 0 and verdict in found.notes[-1]


@pytest.mark.kills("40t")
def test_scores_without_the_own_bag_calibrate_the_fit_and_tell_the_labels():
    z, bags, _ = told_rows()

    class Unseen(Told):
        def _fitted(self, z):
            return replace(super()._fitted(4 * z), details={"out_of_bag": lambda: 2 * z})

    X = np.arange(bags.n_rows)[:, None]
    found = train(X, bags, Unseen(z, []), alone, Rounds(number=0))
    scale = calibrated(2 * z, bags, slope="free")
    assert scale.slope == pytest.approx(0.5, abs=0.1) and found.rounds[0].slope == scale.slope
    np.testing.assert_allclose(found.labelling.posterior, labelled(scale(2 * z), bags).posterior, rtol=1e-12)
    np.testing.assert_allclose(found.fitted.logits(X), scale(4 * z), rtol=1e-12)
    assert "out_of_bag" not in found.fitted.details
    made = train(X, bags, Unseen(z, []), alone, Rounds(number=0, unseen=False))  # bags that were made by features
    shift = calibrated(4 * z, bags, slope="one")
    assert made.rounds[0].slope == 1
    np.testing.assert_allclose(made.labelling.posterior, labelled(shift(4 * z), bags).posterior, rtol=1e-12)


def test_a_number_of_rounds_is_made_as_asked():
    z, bags, _ = told_rows()
    assert [len(run(Told(z, [z]), bags, number=number).rounds) for number in (0, 2)] == [1, 3]


def test_log_odds_out_of_bag_are_asked_for_once():
    z, bags, _ = told_rows()
    asked = []

    class Process(Told):
        def _fitted(self, z):
            def out_of_bag():
                asked.append(len(self.known))
                return z

            fitted = super()._fitted(z)
            return Fitted(fitted.decision_function, fitted.logits, {"out_of_bag": out_of_bag})

    found = run(Process(z, [z]), bags, number=0)  # for calibration and for labels
    assert asked == [1] and "out_of_bag" not in found.fitted.details


def test_scores_that_counts_do_not_confirm_keep_the_order_of_rows_and_a_note_says_so():
    z, bags, _ = told_rows()

    class Against(Told):
        def _fitted(self, z):
            return replace(super()._fitted(z), details={"out_of_bag": lambda: -z})

    X = np.arange(bags.n_rows)[:, None]
    found = train(X, bags, Against(z, []), alone, Rounds(number=0))
    mapped = found.fitted.logits(X)
    np.testing.assert_array_equal(np.argsort(mapped), np.argsort(z))
    assert np.ptp(mapped) < 0.1 and any("do not confirm" in note for note in found.notes)
    own = np.flatnonzero(bags.ids == np.flatnonzero(bags.counts == 2)[0])  # within a bag labels have an order too
    np.testing.assert_array_equal(np.argsort(found.labelling.posterior[own]), np.argsort(-z[own]))
    assert not any("do not confirm" in note for note in run(Told(z, []), bags, number=0).notes)
