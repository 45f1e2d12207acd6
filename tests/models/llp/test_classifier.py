"""The classifier: nothing of labels but their counts, every kind of bags, labels of counted rows."""

import itertools

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.metrics import roc_auc_score

from benchmarks.studies.label_proportions.data import load_llp
from lawful.errors import LawfulError, ObservationError
from lawful.models.llp import Bags, Normal, Thinned
from lawful.models.llp.classifier import LabelProportionClassifier, LabelProportionSelfTraining
from lawful.models.llp.inputs import reweighed
from lawful.models.llp.labelling import labelled
from lawful.models.llp.labels.held_out import held_out
from lawful.models.llp.learners import Net, Process, Ridge, embedded
from lawful.models.llp.neighbours.neighbours import knn_graph
from lawful.models.llp.scoring import bag_score
from lawful.models.llp.training.network import Recipe
from lawful.models.llp.transduction import most_probable_labels

N, SIZE = 120, 4


def classifier(estimator="ridge", **settings):
    return LabelProportionSelfTraining(estimator, **({"random_state": 0} | settings))


def rows_of(classes=2, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, N)
    X = rng.normal(size=(N, 3))
    X[:, :2] += 1.5 * np.stack([np.cos(2 * y), np.sin(2 * y)], axis=1)
    return X, y, rng.permutation(N) // SIZE


def shuffled_within(y, bags, seed=1):
    rng, found = np.random.default_rng(seed), y.copy()
    for bag in np.unique(bags):
        own = np.flatnonzero(bags == bag)
        found[own] = y[rng.permutation(own)]
    return found


def answers(fitted, X):
    return fitted.decision_function(X), fitted.posterior_, [r.gain for r in fitted.rounds_]


def equal(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


@pytest.mark.kills("40h")
@pytest.mark.slow
def test_labels_shuffled_within_bags_and_bags_renamed_give_the_same_fit_bit_by_bit():
    X, y, bags = rows_of()
    other = shuffled_within(y, bags)
    assert np.any(other != y)
    names = np.array([f"bag {7 * bag % 30}" for bag in bags])
    fits = [answers(classifier().fit(X, *given), X) for given in ((y, bags), (other, bags), (y, names))]
    assert equal(fits[0], fits[1]) and equal(fits[0], fits[2])
    moved = y.copy()
    moved[[np.flatnonzero(y == 1)[0], np.flatnonzero(y == 0)[0]]] = [0, 1]  # counts of two bags, if they differ
    assert not equal(fits[0], answers(classifier().fit(X, moved, bags), X))


@pytest.mark.slow
def test_l12_rounds_stop_by_held_out_counts_and_see_no_labels():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 800)
    X, bags = rng.normal(size=(800, 2)) + y[:, None], rng.permutation(800) // 4  # 200 bags, of which 20 are held out
    fits = [classifier(coupling="off", cross_fit=0).fit(X, labels, bags) for labels in (y, shuffled_within(y, bags))]
    rounds = [[(r.held_out, r.gain, r.gain_error, r.slope) for r in fitted.rounds_] for fitted in fits]
    assert rounds[0] == rounds[1] and fits[0].best_round_ == fits[1].best_round_
    assert len(rounds[0]) > 1 and np.isfinite(rounds[0]).all() and fits[0].notes_ == ()


def test_rows_in_another_order_give_the_same_fit():
    X, y, bags = rows_of()
    order = np.random.default_rng(2).permutation(N)
    settings = {"coupling": "off", "cross_fit": 0}
    fitted, other = (classifier(**settings).fit(X[o], y[o], bags[o]) for o in (np.arange(N), order))
    np.testing.assert_allclose(other.decision_function(X), fitted.decision_function(X), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_row_in_no_bag_is_seen_by_neighbours_alone_and_its_label_by_nobody():
    X, y, bags = rows_of()
    more, labels, out = np.concatenate([X, X[:1]]), np.append(y, 1 - y[0]), np.append(bags, -1)
    alone = classifier(coupling="off").fit(X, y, bags)
    beside = classifier(coupling="off").fit(more, labels, out)
    np.testing.assert_allclose(beside.decision_function(X), alone.decision_function(X), atol=1e-5)
    np.testing.assert_allclose(beside.posterior_[:N], alone.posterior_, atol=1e-5)
    near = [classifier().fit(more, np.append(y, label), out) for label in (0, 1)]
    assert equal(*(answers(each, X) for each in near))
    assert abs(near[0].posterior_[-1] - near[0].class_prior_[1]) > 0.01


@pytest.mark.slow
@pytest.mark.rest_slow
@pytest.mark.parametrize("explained", [True, False])
def test_neighbours_are_coupled_where_they_agree_beyond_the_learner(explained):
    rng = np.random.default_rng(5)
    X = np.repeat(rng.normal(size=(1000, 2)), 2, axis=0)
    agree = rng.random(2000) < 1 / (1 + np.exp(-3 * X[:, 0])) if explained else np.repeat(rng.random(1000) < 0.4, 2)
    bags = rng.permutation(2000) // 2
    fitted = classifier(Process(features=30)).fit(X, agree.astype(int), bags)
    assert fitted.identifiability_.verdict == "neighbours agree"
    told = fitted.residual_correlation_.verdict
    assert told == ("no sign that neighbours agree" if explained else "neighbours agree")
    assert (fitted.coupling_ is None) == explained and (fitted.labelling_.verdict == "exact") == explained


def test_counts_of_two_classes_are_counts_of_the_second():
    X, y, bags = rows_of()
    ones = np.bincount(bags, y, N // SIZE)
    both = np.stack([SIZE - ones, ones], axis=1)
    fits = [classifier(coupling="off").fit_bags(X, bags, counts) for counts in (ones, both)]
    fits.append(classifier(coupling="off").fit_bags(X, bags, proportions=ones / SIZE))
    assert equal(answers(fits[0], X), answers(fits[1], X)) and equal(answers(fits[0], X), answers(fits[2], X))


def test_counts_of_members_drawn_from_the_bags_are_learned_from():
    X, y, bags = rows_of()
    counts = np.bincount(bags, y, N // SIZE)
    exact = classifier(coupling="off").fit_bags(X, bags, counts)
    fits = [classifier(coupling="off").fit_bags(X, bags, counts, n_trials=SIZE)]
    fits.append(classifier(coupling="off").fit_bags(X, bags, proportions=counts / SIZE, n_trials=np.full(30, SIZE)))
    for fitted in fits:
        np.testing.assert_allclose(fitted.decision_function(X), exact.decision_function(X), rtol=1e-4, atol=1e-4)
    few = np.array([y[np.flatnonzero(bags == bag)[:2]].sum() for bag in range(N // SIZE)])
    fitted = classifier(coupling="off").fit_bags(X, bags, few, n_trials=2)
    assert np.mean(fitted.predict(X) == y) > 0.8
    sums = np.bincount(bags, fitted.posterior_)
    assert np.all((few - 1e-9 <= sums) & (sums <= few + 2 + 1e-9))
    with pytest.raises(ObservationError, match="n_trials and count_noise.*Fix"):
        classifier(count_noise=Normal(1.0)).fit_bags(X, bags, few, n_trials=2)
    with pytest.raises(ObservationError, match="proportion of bag 0 is 0.3.*Fix"):
        classifier().fit_bags(X, bags, proportions=np.full(30, 0.3), n_trials=2)


def test_three_classes_with_names_are_learned_from_their_counts():
    X, y, bags = rows_of(classes=3)
    names = np.array(["ant", "bee", "cat"])
    fitted = classifier(coupling="off", cross_fit=0).fit(X, names[y], bags)
    assert fitted.classes_.tolist() == names.tolist()
    assert np.mean(fitted.predict(X) == names[y]) > 0.75
    sums = np.stack([np.bincount(bags, fitted.posterior_[:, k]) for k in range(3)], axis=1)
    counts = np.stack([np.bincount(bags, y == k) for k in range(3)], axis=1)
    np.testing.assert_allclose(sums, counts, atol=1e-5)
    np.testing.assert_allclose(fitted.predict_proba(X).sum(axis=1), 1)


@pytest.mark.parametrize("case", [pytest.param("overlapping", marks=pytest.mark.slow), "noisy", "missing"])
def test_other_kinds_of_bags_are_learned_from(case):
    X, y, bags = rows_of()
    counts = np.bincount(bags, y, N // SIZE)
    if case == "overlapping":
        membership = np.zeros((N // SIZE, N), int)
        membership[bags, np.arange(N)] = 1
        membership[0, :2] = 1
        given = (csr_matrix(membership), membership @ y)
        fitted = classifier(coupling="off").fit_bags(X, *given)
    elif case == "noisy":
        fitted = classifier(coupling="off", count_noise=Normal(0.5)).fit_bags(X, bags, counts + 0.25)
    else:
        fitted = classifier(coupling="off").fit_bags(X, bags, np.where(np.arange(N // SIZE) < 5, np.nan, counts))
    assert np.mean(fitted.predict(X) == y) > 0.8
    assert np.isfinite(fitted.posterior_).all()


def test_counts_of_new_bags_are_told_by_the_poisson_binomial_law():
    X, y, bags = rows_of()
    fitted = classifier(coupling="off").fit(X, y, bags)
    p = fitted.predict_proba(X[:3])[:, 1]
    one_of_three = sum(p[i] * (1 - p[j]) * (1 - p[k]) for i, j, k in ((0, 1, 2), (1, 0, 2), (2, 0, 1)))
    told = fitted.bag_log_likelihood(X[:3], [0, 0, 0], [1])
    np.testing.assert_allclose(told, np.log(one_of_three), rtol=1e-9)
    np.testing.assert_allclose(bag_score([0, 1, 0], p, bags=["a", "a", "a"]), told, rtol=1e-9)
    both = np.stack([1 - p, p], axis=1)
    np.testing.assert_allclose(bag_score([0, 1, 0], both, bags=["a", "a", "a"]), told, rtol=1e-9)
    alone = bag_score([0, 1, 0], p, bags=[0, 1, 2])
    np.testing.assert_allclose(alone, np.mean(np.log([1 - p[0], p[1], 1 - p[2]])), rtol=1e-9)


@pytest.mark.slow
def test_labels_of_counted_rows_have_the_counts_exactly():
    X, y, bags = rows_of()
    counts = np.bincount(bags, y, N // SIZE)
    fitted = classifier(coupling="off", cross_fit=0).fit_bags(X, bags, counts)
    for kind in ("marginal", "map", "sample"):
        told = fitted.transduce(X, bags, counts, kind)
        np.testing.assert_allclose(np.bincount(bags, told, N // SIZE), counts, atol=1e-9)
    best = fitted.transduce(X, bags, counts, "map")
    z = fitted.decision_function(X)
    for bag in range(N // SIZE):
        own = np.flatnonzero(bags == bag)
        scores = [z[list(ones)].sum() for ones in itertools.combinations(own, int(counts[bag]))]
        np.testing.assert_allclose(z[own] @ best[own], max(scores, default=0.0), atol=1e-9)
    np.testing.assert_allclose(fitted.max_posterior_, np.maximum(fitted.posterior_, 1 - fitted.posterior_))


@pytest.mark.slow
def test_labels_of_counted_rows_listen_to_neighbours_as_the_fit_did():
    X, y, bags = rows_of()
    counts = np.bincount(bags, y, N // SIZE)
    fitted = classifier(coupling=0.9, cross_fit=0, rounds=0).fit_bags(X, bags, counts)
    for kind in ("map", "sample"):
        told = fitted.transduce(X, bags, counts, kind)
        np.testing.assert_array_equal(np.bincount(bags, told, N // SIZE), counts)
    best = fitted.transduce(X, bags, counts, "map", details=True)
    z, bagged = fitted.decision_function(X), Bags.from_ids(bags, counts)
    near = most_probable_labels(z, bagged, fitted._couple_rows(X))
    assert np.array_equal(best.labels, near.labels) and best.log_score == near.log_score <= best.bound
    assert abs(best.log_score - most_probable_labels(z, bagged).log_score) > 1
    with pytest.raises(LawfulError, match="kind='best'.*Fix"):
        fitted.transduce(X, bags, counts, "best")


@pytest.mark.slow
def test_neighbours_are_near_in_the_hidden_layer_of_the_last_net_where_that_is_asked_for():
    X, y, bags = rows_of()
    nets = [Net(Recipe(hidden=(4,), epochs=2), Ridge(), hidden_neighbors=hidden) for hidden in (True, False)]
    fitted, plain = (classifier(net, coupling=0.5, cross_fit=0, rounds=2).fit(X, y, bags) for net in nets)
    first = knn_graph(plain.scaling_(X), 5, "cosine").edges
    assert np.array_equal(plain.graph_.edges, first) and not np.array_equal(fitted.graph_.edges, first)
    counts = np.bincount(bags, y, N // SIZE)
    seen = knn_graph(embedded(fitted.learner_, fitted.scaling_(X)), 5, "cosine").edges
    told = labelled(fitted.decision_function(X), Bags.from_ids(bags, counts), fitted._couple_rows(X))
    assert np.array_equal(fitted._couple_rows(X).edges, seen)
    np.testing.assert_allclose(fitted.transduce(X, bags, counts), told.posterior)
    with pytest.raises(LawfulError, match="Net: count_weight=-1.*Fix"):
        Net(count_weight=-1)


def test_other_shares_of_the_classes_move_the_log_odds_by_their_difference():
    X, y, bags = rows_of()
    fitted = classifier(coupling="off", cross_fit=0).fit(X, y, bags)
    p, q = fitted.predict_proba(X)[:, 1], fitted.predict_proba(X, class_prior=[0.9, 0.1])[:, 1]
    before, after = fitted.class_prior_, np.array([0.9, 0.1])
    shift = np.log(after[1] / after[0]) - np.log(before[1] / before[0])
    np.testing.assert_allclose(np.log(q / (1 - q)), np.log(p / (1 - p)) + shift, rtol=1e-9, atol=1e-9)
    with pytest.raises(ObservationError, match="add up to 1"):
        fitted.predict_proba(X, class_prior=[0.5, 0.4])


def test_a_single_class_is_predicted_without_a_fit():
    X, y, bags = rows_of()
    fitted = classifier().fit(X, np.full(N, "yes"), bags)
    assert set(fitted.predict(X)) == {"yes"}
    assert np.array_equal(classifier().fit_bags(X, bags, np.zeros(N // SIZE)).predict(X), np.zeros(N))


@pytest.mark.parametrize("case", ["thinned", "sampled", "normal", "missing", "unbagged"])
def test_counts_of_zero_make_no_row_certain_where_they_are_noisy_or_not_of_all_rows(case):
    X, _, bags = rows_of()
    zeros, open_rows = np.zeros(N // SIZE), np.ones(N, bool)
    model, settings = classifier(), {}
    if case == "thinned":
        settings["count_noise"] = Thinned(0.1)
    elif case == "sampled":
        settings["n_trials"] = 1
    elif case == "normal":
        zeros, settings["count_noise"] = zeros - 0.5, Normal(3.0)
    elif case == "missing":
        zeros[:3], open_rows = np.nan, bags < 3
    else:
        bags, open_rows = np.where(np.arange(N) % 50 == 0, -1, bags), np.arange(N) % 50 == 0
    fitted = model.fit_bags(X, bags, zeros, **settings)
    assert np.isfinite(fitted.decision_function(X)).all()
    assert np.all((fitted.posterior_[open_rows] > 1e-4) & (fitted.posterior_[open_rows] < 0.01))
    np.testing.assert_allclose(fitted.posterior_[~open_rows], 0, atol=1e-12)


@pytest.mark.slow
def test_a_fit_to_one_label_gives_new_rows_the_counts_of_their_bags():
    X, y, bags = rows_of()
    counts = np.bincount(bags, y, N // SIZE)
    fitted = classifier(coupling="off").fit_bags(X, bags, np.zeros(N // SIZE))
    for kind in ("marginal", "map", "sample"):
        np.testing.assert_allclose(np.bincount(bags, fitted.transduce(X, bags, counts, kind)), counts, atol=1e-9)
    np.testing.assert_array_equal(fitted.predict_proba(X[:1], class_prior=[0, 1]), [[0, 1]])
    with pytest.raises(ObservationError, match="excludes every class that row 1.*Fix"):
        reweighed(np.array([[0.5, 0.5], [1.0, 0.0]]), [0.5, 0.5], [0, 1])


@pytest.mark.slow
def test_a_class_that_no_count_has_is_left_rare_and_neighbours_among_new_rows_are_coupled_as_in_the_fit():
    X, y, bags = rows_of()
    ones = np.bincount(bags, y, N // SIZE)
    counts = np.stack([SIZE - ones, ones, 0 * ones], axis=1)
    fitted = classifier(coupling=0.5, cross_fit=0, rounds=0).fit_bags(X, bags, counts)
    assert np.all(fitted.predict_proba(X)[:, 2] < 0.01)
    assert np.array_equal(fitted._couple_rows(X).base_rate, fitted.coupling_.base_rate)
    np.testing.assert_allclose(fitted.transduce(X, bags, counts).sum(axis=1), 1)


def test_a_fit_keeps_no_rows_whatever_the_number_of_classes():
    X, y, bags = rows_of(classes=3)
    fitted = classifier(Process(features=10), coupling="off").fit(X, y, bags)
    parts = fitted.learner_.details["parts"]
    assert len(parts) == 3 and not any("out_of_bag" in part.details for part in parts)
    assert "out_of_bag" not in fitted.learner_.details


@pytest.mark.slow
def test_iterations_are_those_of_the_learner():
    X, y, bags = rows_of()
    net = Net(Recipe(hidden=(4,), epochs=3), Ridge())
    fits = [classifier(base, coupling="off", cross_fit=0).fit(X, y, bags) for base in ("ridge", net, "logistic")]
    told = [fitted.n_iter_ for fitted in fits]
    assert told == [1, 3, int(fits[2].learner_.details["model"].n_iter_[0])] and told[2] > 1


@pytest.mark.slow
def test_neighbours_are_asked_for_by_counts_that_are_not_held_out():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 800)
    X, bags = rng.normal(size=(800, 2)) + y[:, None], rng.permutation(800) // 4
    counts = np.bincount(bags, y, 200)
    held = held_out(Bags.from_ids(bags, counts), int(np.random.RandomState(0).randint(2**31 - 1)))
    given = {"coupling": 0.3, "cross_fit": 0}
    fitted = classifier(**given).fit_bags(X, bags, counts)
    shown = counts[~held].mean() / 4
    assert held.sum() == 20 and fitted.coupling_.base_rate == pytest.approx(shown, rel=1e-12) != counts.mean() / 4


@pytest.mark.slow
def test_l14_digits_are_told_apart_from_counts_in_bags_of_eight():
    """The whole way as it comes, on the images that scikit-learn bundles."""
    X, y, _ = load_llp("digits")
    order = np.random.default_rng(0).permutation(len(y))
    test, train = order[:180], order[180:]
    bags = np.arange(len(train)) // 8
    fitted = LabelProportionClassifier(random_state=0).fit(X[train], y[train], bags)
    assert len(fitted.rounds_) == 1 and fitted.labelling_.verdict in ("exact", "converged")
    assert roc_auc_score(y[test], fitted.decision_function(X[test])) > 0.95  # the bar is 0.85
    assert roc_auc_score(y[train], fitted.posterior_) > 0.95
