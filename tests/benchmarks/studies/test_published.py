"""The published method: its joint in both forms, its messages, and what its code leaves out."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.studies.label_proportions import published
from benchmarks.studies.label_proportions.data import load_llp
from benchmarks.studies.label_proportions.published import PublishedClassifier, fit_published, stopped
from benchmarks.studies.label_proportions.published_graph import published_graph, similar
from benchmarks.studies.label_proportions.published_settings import Published
from lawful.errors import LawfulError
from lawful.inference.graphs import propagated
from lawful.models.llp import Bags, Normal, count_log_likelihood
from lawful.models.llp.labels.calibration import calibrated
from lawful.models.llp.labels.held_out import held_out
from lawful.models.llp.training.network import fit_network
from tests.models.llp.truth import labellings


def joint(y, bags, edges, kernel, bag, similarity):
    known = [(bags.members_of(int(b)), bags.counts[b]) for b in np.flatnonzero(bags.known)]
    counts = sum((y[:, rows].sum(axis=1) - s) ** 2 for rows, s in known)
    return -bag * counts - similarity * ((y[:, edges[:, 0]] - y[:, edges[:, 1]]) ** 2 @ kernel)


@pytest.mark.rest_slow
@pytest.mark.parametrize("form", ["pairwise", "count"])
@pytest.mark.parametrize("overlap", [False, True])
def test_both_forms_have_the_published_joint(form, overlap):
    rng = np.random.default_rng(0)
    membership = np.zeros((3, 8), int)
    membership[[0, 0, 0, 1, 1, 2, 2], np.arange(7)] = 1
    membership[0, 3] = overlap
    bags = Bags.from_membership(membership, counts=[2, 1, np.nan])
    edges, kernel = similar(rng.normal(size=(8, 2)), bags, 2, "all")
    assert any(membership[0, i] and membership[0, j] for i, j in edges)  # a pair that is both
    graph = published_graph(bags, edges, kernel, bag=0.7, similarity=0.4, form=form)
    y = labellings(8)
    told = np.array([graph.log_score({"y": each}) for each in y])
    truth = joint(y, bags, edges, kernel, 0.7, 0.4)
    np.testing.assert_allclose(told - told[0], truth - truth[0], atol=1e-10)


@pytest.mark.rest_slow
@pytest.mark.parametrize("form", ["pairwise", "count"])
def test_beliefs_on_a_tree_are_those_of_all_labellings(form):
    bags = Bags.from_ids([0, 0, 1, 1], counts=[1, 2])
    edges, kernel = np.array([[1, 2]]), np.array([0.5])
    y = labellings(4)
    weight = np.exp(joint(y, bags, edges, kernel, 0.8, 1.1))
    truth = weight @ y / weight.sum()
    graph = published_graph(bags, edges, kernel, bag=0.8, similarity=1.1, form=form)
    found = propagated(graph, damping=0.5, tol=1e-10)
    np.testing.assert_allclose(np.asarray(found.beliefs["y"])[:, 1], truth, atol=1e-6)


def test_the_published_rule_drops_neighbours_found_from_bags_with_larger_counts():
    X = np.random.default_rng(1).normal(size=(12, 2)).astype(np.float32)
    bags = Bags.from_ids(np.arange(12) // 4, counts=[1, 2, 3])
    kept, _ = similar(X, bags, 3, "published")
    everything, _ = similar(X, bags, 3, "all")
    assert {tuple(e) for e in kept} < {tuple(e) for e in everything}
    assert np.all((kept < 4).any(axis=1))  # one end found the other, from the first bag
    none, _ = similar(X, bags.take([1, 2]), 3, "published")
    assert len(none) == 0


def test_at_the_published_strengths_messages_do_not_settle():
    X, y, _ = load_llp("digits")
    rows = np.random.default_rng(0).permutation(len(y))[:240]
    model = PublishedClassifier(Published(rounds=1, epochs=1, hidden=(4,)), random_state=0)
    fitted = model.fit(X[rows], y[rows], np.arange(240) // 8)
    (told,) = fitted.rounds_
    assert told.verdict != "converged" and told.residual > 1e-3
    assert told.form == "pairwise" and told.epoch[1] == "last"
    assert fitted.predict(X[:3]).shape == (3,)


@pytest.mark.slow
def test_the_aggregate_variant_fits_another_net_to_the_same_labels():
    X, y, _ = load_llp("digits")
    rows = np.random.default_rng(0).permutation(len(y))[:64]
    fits = [
        fit_published(
            X[rows], Bags.from_labels(y[rows], np.arange(64) // 8),
            Published(rounds=1, epochs=1, hidden=(4,), iterations=3, bag_form="count", aggregate=weight),
        )
        for weight in (0.0, 1.0)
    ]  # fmt: skip
    assert np.array_equal(fits[0].posterior, fits[1].posterior)
    assert not np.allclose(*(each.fitted.logits(X[:5]) for each in fits))
    with pytest.raises(LawfulError, match="aggregate=-1.*Fix"):
        Published(aggregate=-1.0)


@pytest.mark.slow
def test_at_the_published_strengths_messages_do_not_settle_on_adult(data):
    X, y, _ = load_llp("adult", folder=data / "llp")
    rows = np.random.default_rng(0).permutation(len(y))[:39552]
    bags = Bags.from_labels(y[rows], np.arange(39552) // 8)
    edges, kernel = similar(X[rows], bags, 5, "all")
    graph = published_graph(bags, edges, kernel, bag=10.0, similarity=10.0, form="pairwise")
    found = propagated(graph, damping=0.5, max_iters=100, certify=False)
    assert found.verdict != "converged"


def test_what_the_method_does_not_do_is_refused():
    big, noisy = Bags.from_ids(np.zeros(129, int), [3]), Bags.from_ids([0, 0], [1.2], noise=Normal(1.0))
    none = np.zeros((0, 2), int), np.zeros(0)
    for bags, words in ((big, "Fix: give bag_form='count'"), (noisy, "without noise")):
        with pytest.raises(LawfulError, match=words):
            published_graph(bags, *none, bag=1.0, similarity=1.0, form="pairwise")
    with pytest.raises(LawfulError, match="reads labels"):
        Published(selection="instance")
    with pytest.raises(LawfulError, match="edge_rule='some'"):
        Published(edge_rule="some")
    with pytest.raises(LawfulError, match="settings='published'.*Fix: give Published"):
        PublishedClassifier("published").fit(np.zeros((2, 1)), [0, 1], [0, 0])


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"rounds": 0}, "rounds=0"), ({"epochs": 0}, "epochs=0"), ({"iterations": -1}, "iterations=-1"),
        ({"damping": 1.0}, "damping=1.0"), ({"threshold": 1.5}, "threshold=1.5"), ({"bag": np.nan}, "bag=nan"),
        ({"similarity": -1.0}, "similarity=-1.0"), ({"n_neighbors": 0}, "n_neighbors=0"), ({"hidden": ()}, "hidden="),
        ({"hidden": (8, 0)}, "hidden="), ({"embedding": 2}, "embedding=2"), ({"patience": 0}, "patience=0"),
        ({"selection": "instance", "validation": 3}, "validation is no pair"),
    ],
    ids=str,
)  # fmt: skip
def test_a_setting_that_means_nothing_is_refused_when_it_is_made(setting, told):
    with pytest.raises(LawfulError, match=f"Published: {told}.*Fix"):
        Published(**setting)


SMALL = {"hidden": (4, 3), "iterations": 3, "bag_form": "count", "epochs": 5, "patience": 5}


def rows_far_from_zero(n=96, size=2):
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, n)
    return rng.normal(size=(n, 3)) * [1, 50, 200] + [1000, 0, -3000] + y[:, None] * [1.5, 0, 0], y, np.arange(n) // size


@pytest.mark.slow
def test_validation_rows_are_put_on_the_scale_of_the_fit():
    X, y, bags = rows_far_from_zero()
    names = np.array(["no", "yes"])[y]
    settings = Published(rounds=1, selection="instance", validation=(X, names), **SMALL)
    fitted = PublishedClassifier(settings, random_state=0).fit(X, names, bags)
    network, (epoch, by) = fitted.learner_.details["network"], fitted.rounds_[0].epoch
    areas = [roc_auc_score(y, network.logits(fitted.scaling_(X), e)) for e in range(5)]
    assert by == "instance" and epoch == stopped(areas, 5, 1e-4) != 0
    np.testing.assert_allclose(roc_auc_score(y, fitted.decision_function(X)), areas[epoch])
    assert len({roc_auc_score(y, network.logits(X, e)) for e in range(5)}) < len(set(areas))  # what a slip would see
    for validation in ((X, np.where(y, "yes", "maybe")), (X[y == 1], names[y == 1])):
        with pytest.raises(LawfulError, match="validation has labels.*Fix"):
            PublishedClassifier(replace(settings, validation=validation)).fit(X, names, bags)


@pytest.mark.slow
def test_an_epoch_is_selected_by_counts_that_were_held_out():
    X, y, ids = rows_far_from_zero(400)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    bags = Bags.from_labels(y, ids)
    found = fit_published(Z, bags, Published(rounds=1, selection="bag", **SMALL), seed=0)
    held, (epoch, by) = held_out(bags, 0), found.rounds[0].epoch
    assert held.sum() == 20 and by == "bag"
    scores = []
    for e in range(5):
        z = found.fitted.details["network"].logits(Z, e)
        z = calibrated(z, bags, held, slope="free")(z)
        scores.append(float(np.mean(np.asarray(count_log_likelihood(z, bags))[held])))
    assert epoch == stopped(scores, 5, 1e-4)


@pytest.mark.parametrize(
    ("settings", "layer"), [({}, -2), ({"embedding": 0}, 0), ({"aggregate": 0.1}, -1), ({"hidden": (4,)}, -1)], ids=str
)
def test_the_embedding_is_the_layer_before_the_last_where_there_is_one_and_no_head_for_bags(settings, layer):
    assert Published(**settings).layer == layer


@pytest.mark.slow
def test_the_next_graph_is_made_of_the_embedding_after_the_selected_epoch(monkeypatch):
    X, y, ids = rows_far_from_zero(24)
    Z, bags = (X - X.mean(axis=0)) / X.std(axis=0), Bags.from_labels(y, ids)
    settings = Published(**(SMALL | {"epochs": 2, "iterations": 1, "bag_form": "pairwise"}))
    seen = []
    monkeypatch.setattr(published, "similar", lambda points, *rest: seen.append(points) or similar(points, *rest))
    monkeypatch.setattr(published, "_selected", lambda *given: (0, "instance"))
    first = fit_published(Z, bags, replace(settings, rounds=1)).fitted.details["network"]
    fit_published(Z, bags, replace(settings, rounds=2))
    np.testing.assert_array_equal(seen[2], first.hidden(Z, 0, 0))  # of two layers the one before the last
    assert not np.array_equal(first.hidden(Z, 0, 0), first.hidden(Z, 1, 0))


@pytest.mark.slow
def test_the_net_is_fitted_at_a_constant_rate_in_batches_of_rows_without_decay(monkeypatch):
    X, y, ids = rows_far_from_zero(24)
    given = []

    def spied(X, bags, loss, *, recipe, **rest):
        given.append((bags, recipe))
        return fit_network(X, bags, loss, recipe=recipe, **rest)

    monkeypatch.setattr(published, "fit_network", spied)
    Z, bags = (X - X.mean(axis=0)) / X.std(axis=0), Bags.from_labels(y, ids)
    nets = [
        fit_published(Z, bags, Published(rounds=1, **(SMALL | {"epochs": epochs}))).fitted.details["network"]
        for epochs in (2, 3)
    ]
    for recipe_bags, recipe in given:
        assert recipe_bags.sizes.tolist() == [1] * 24
        assert (recipe.weight_decay, recipe.learning_rate, recipe.last_rate, recipe.rows) == (0.0, 1e-3, 1.0, 1024)
    for short, long in zip(jax.tree.leaves(nets[0].history), jax.tree.leaves(nets[1].history), strict=True):
        np.testing.assert_allclose(short, long[:2], rtol=1e-5, atol=1e-7)  # more epochs change none of the first


def test_a_fit_is_over_after_so_many_epochs_without_a_gain():
    def scores():
        yield from (0.5, 0.6, 0.60009, 0.6, 0.59, 0.58)
        raise AssertionError("the fifth epoch after the best was looked at")

    assert stopped(scores(), patience=4, gain=1e-4) == 1
