"""Labels of counted rows with neighbours: most probable and drawn, against all labellings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.errors import ObservationError
from lawful.inference.graphs.model.counted import completed
from lawful.inference.graphs.moves.walk import walked
from lawful.models.llp import Bags, Normal, transduction
from lawful.models.llp.labelling import label_graph
from lawful.models.llp.neighbours.coupling import Coupling
from lawful.models.llp.transduction import drawn_labels, most_probable_labels, transduced
from tests.models.llp.truth import labellings, log_weights_of_counts
from tests.tiers import rest_slow

N = 9
CASES = ["counts", "noisy", "classes", "clique"]


def case(kind, seed=0):
    """Log odds, bags of three, one row in no bag, and neighbours; in a clique all members of a bag are neighbours."""
    rng = np.random.default_rng(seed)
    classes = 3 if kind == "classes" else 2
    n = 6 if kind == "classes" else N
    ids = np.array([0, 0, 0, 1, 1, 1, 2, 2, -1])[:n]
    if kind == "classes":
        ids[-1] = -1
        z = jax.nn.log_softmax(jnp.asarray(rng.normal(size=(n, 3))))
        bags = Bags.from_ids(ids, [[1, 1, 1], [1, 0, 1]])
    else:
        z = jnp.asarray(rng.normal(size=n))
        noise = Normal(0.7) if kind == "noisy" else None
        bags = Bags.from_ids(ids, [1.3, 1.9, np.nan] if kind == "noisy" else [1, 2, np.nan], noise=noise)
    pairs = np.stack(np.triu_indices(n, 1), axis=1)
    edges = pairs[rng.permutation(len(pairs))[: n + 2]]
    if kind == "clique":
        edges = np.array([[0, 1], [0, 2], [1, 2], [3, 4], [3, 5], [4, 5], [2, 3], [6, 7], [7, 8]])
    shares = np.full(classes, 1 / classes) if kind == "classes" else 0.35
    return z, bags, Coupling(edges, np.linspace(0.2, 0.6, len(edges)), shares, 2.0)


def scores_of_all(z, bags, coupling):
    """All labellings, and log P of each with the reports, up to a constant of the reports."""
    n, classes = len(z), bags.n_classes
    y = labellings(n, classes)
    scores = np.stack([-np.logaddexp(0, z), -np.logaddexp(0, -z)], axis=1) if z.ndim == 1 else np.asarray(z)
    total = scores[np.arange(n), y].sum(axis=1) + log_weights_of_counts(bags, y)
    tables = np.broadcast_to(coupling.log_table, (len(coupling.edges), classes, classes))
    for (i, j), table in zip(coupling.edges, tables, strict=True):
        total += table[y[:, i], y[:, j]]
    return y, total


@pytest.mark.parametrize("seed", rest_slow(range(3)))
@pytest.mark.parametrize("kind", rest_slow(CASES, 2))
def test_the_most_probable_labels_are_those_of_all_labellings(kind, seed):
    z, bags, coupling = case(kind, seed)
    y, total = scores_of_all(z, bags, coupling)
    found = most_probable_labels(z, bags, coupling)
    assert found.labels.tolist() == y[np.argmax(total)].tolist()
    np.testing.assert_allclose(found.log_score, total.max(), rtol=1e-10)
    assert total.max() <= found.bound + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES)
def test_labels_of_a_search_are_beneath_its_bound(kind, monkeypatch):
    """As they are found where there are more rows than an integer program takes."""
    monkeypatch.setattr(transduction, "SMALL", 0)
    z, bags, coupling = case(kind, 1)
    y, total = scores_of_all(z, bags, coupling)
    found = most_probable_labels(z, bags, coupling)
    place = found.labels @ bags.n_classes ** np.arange(len(z))[::-1]
    np.testing.assert_allclose(found.log_score, total[place], rtol=1e-10)
    assert found.log_score <= total.max() + 1e-9 and total.max() <= found.bound + 1e-9
    assert found.started.startswith("search") and found.log_score > total.max() - 0.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["clique", "classes"])
def test_the_walk_reaches_the_law_from_anywhere(kind):
    z, bags, coupling = case(kind)
    y, total = scores_of_all(z, bags, coupling)
    p = np.exp(total - np.logaddexp.reduce(total))
    start = y[np.argmin(np.where(np.isfinite(total), total, np.inf))]
    graph, walks = label_graph(z, bags, coupling), 2000
    x = np.concatenate([np.ravel(v) for v in completed(graph.structure, {"y": start}).values()])
    walk = jax.vmap(lambda key: walked(graph.structure, graph.potentials, x, key, steps=300)[0])
    ends = np.asarray(walk(jax.random.split(jax.random.key(3), walks)))[:, : len(z)]
    for k in range(1, bags.n_classes):
        truth = p @ (y == k)  # a false alarm rate of 1e-6 over all numbers; thirty steps leave .1 of three classes
        assert np.all(np.abs((ends == k).mean(axis=0) - truth) < 5.5 * np.sqrt(0.25 / walks))


@pytest.mark.slow
def test_draws_without_neighbours_have_the_law_of_the_labels():
    z, bags, _ = case("counts")
    none = Coupling(np.zeros((0, 2), int), np.zeros(0), 0.35, 0.0)
    y, total = scores_of_all(z, bags, none)
    truth = np.exp(total - np.logaddexp.reduce(total)) @ y
    draws = drawn_labels(z, bags, np.random.default_rng(0), draws=2000)
    assert np.all(np.abs(draws.mean(axis=0) - truth) < 5.5 * np.sqrt(0.25 / 2000))


@pytest.mark.rest_slow
@pytest.mark.parametrize("kind", ["marginal", "map", "sample"])
def test_counts_that_infinite_log_odds_exclude_are_refused(kind):
    bags = Bags.from_ids([0, 0, 1, 1], [0, 1])
    with pytest.raises(ObservationError, match="bag 1, 1, is impossible.*Fix"):
        transduced(kind, np.array([-np.inf, -np.inf, -np.inf, -np.inf]), bags)
    told = transduced(kind, np.array([-np.inf, -1000.0, -np.inf, -1000.0]), bags)  # finite ones leave all possible
    labels = {"marginal": "posterior", "map": "labels"}.get(kind)
    np.testing.assert_allclose(told if labels is None else getattr(told, labels), [0, 0, 0, 1], atol=1e-12)
