"""Nothing of labels but counts is read where it counts: the process with neighbours, and rounds that stop by counts."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from lawful.models.llp.classifier import LabelProportionClassifier, LabelProportionSelfTraining
from lawful.models.llp.learners import FromClassifier, Ridge

SIZE = 4


def rows_of(n, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.4).astype(int)
    return rng.normal(size=(n, 2)) + 1.5 * y[:, None], y, rng.permutation(n) // SIZE


def shuffled_within(y, bags, seed=1):
    rng, found = np.random.default_rng(seed), y.copy()
    for bag in np.unique(bags):
        own = np.flatnonzero(bags == bag)
        found[own] = y[rng.permutation(own)]
    assert np.any(found != y)
    return found


def equal(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


def answers(fitted, X):
    return fitted.decision_function(X), fitted.posterior_, fitted.coupling_.strength, fitted.residual_correlation_.error


@pytest.mark.slow
def test_l4_the_default_with_neighbours_reads_nothing_but_counts_bit_by_bit():
    X, y, bags = rows_of(240)  # bags enough for the exact likelihood
    names = np.array([f"bag {7 * bag % 60}" for bag in bags])
    cases = ((y, bags), (shuffled_within(y, bags), bags), (y, names))
    fits = [answers(LabelProportionClassifier(n_components=50, random_state=0).fit(X, *case), X) for case in cases]
    assert equal(fits[0], fits[1]) and equal(fits[0], fits[2])


@pytest.mark.slow
def test_l4_a_copy_of_a_row_in_no_bag_leaves_the_learner_of_the_default_and_its_label_is_read_by_nobody():
    X, y, bags = rows_of(240)
    more, out = np.concatenate([X, X[:1]]), np.append(bags, -1)
    alone = LabelProportionClassifier(n_components=50, random_state=0).fit(X, y, bags)
    beside = [
        LabelProportionClassifier(n_components=50, random_state=0).fit(more, np.append(y, label), out)
        for label in (0, 1)
    ]
    assert equal(*(answers(each, X) for each in beside))
    np.testing.assert_allclose(beside[0].decision_function(X), alone.decision_function(X), atol=1e-3)
    assert len(beside[0].posterior_) == 241 and [0, 240] in beside[0].graph_.edges.tolist()
    counts = np.bincount(bags, y)
    np.testing.assert_allclose(np.bincount(bags, beside[0].posterior_[:240]), counts, atol=1e-4 * SIZE)
    np.testing.assert_allclose(beside[0].posterior_[:240], alone.posterior_, atol=0.1)  # it is a neighbour, no more


@pytest.mark.slow
def test_l12_rounds_of_other_learners_with_neighbours_and_folds_see_no_labels():
    X, y, bags = rows_of(800)  # 200 bags, of which 20 are held out
    learner = FromClassifier(lambda seed: LogisticRegression(), Ridge())  # from labels that a ridge starts
    model = LabelProportionSelfTraining(learner, coupling=0.5, cross_fit=2, random_state=0)
    fits = [model.fit(X, labels, bags) and (model.rounds_, *told(model, X)) for labels in (y, shuffled_within(y, bags))]
    rounds = [[(r.held_out, r.gain, r.gain_error, r.slope) for r in each[0]] for each in fits]
    assert rounds[0] == rounds[1] and len(rounds[0]) > 1 and np.isfinite(rounds[0]).all()
    assert equal(fits[0][1:], fits[1][1:])


def told(model, X):
    return model.best_round_, model.decision_function(X), model.posterior_
