"""The published method: its joint in both forms, its messages, and what its code leaves out."""

import numpy as np
import pytest

from lawful.errors import LawfulError
from lawful.inference.factor_graphs import propagated
from lawful.models.llp import Bags, Normal
from lawful.models.llp.classifier import LabelProportionClassifier
from lawful.models.llp.data import load_llp
from lawful.models.llp.published import Published, fit_published
from lawful.models.llp.published_graph import published_graph, similar
from tests.models.llp.truth import labellings


def joint(y, bags, edges, kernel, bag, similarity):
    known = [(bags.members_of(int(b)), bags.counts[b]) for b in np.flatnonzero(bags.known)]
    counts = sum((y[:, rows].sum(axis=1) - s) ** 2 for rows, s in known)
    return -bag * counts - similarity * ((y[:, edges[:, 0]] - y[:, edges[:, 1]]) ** 2 @ kernel)


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
    model = LabelProportionClassifier(method=Published(rounds=1, epochs=1, hidden=(4,)), random_state=0)
    fitted = model.fit(X[rows], y[rows], np.arange(240) // 8)
    (told,) = fitted.rounds_
    assert told.verdict != "converged" and told.residual > 1e-3
    assert told.form == "pairwise" and told.epoch[1] == "last"
    assert fitted.predict(X[:3]).shape == (3,)


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
