"""The coupling keeps what neighbours know of themselves, and is as strong as messages can bear."""

import networkx as nx
import numpy as np
import pytest

from lawful.errors import LawfulError
from lawful.inference.graphs import FactorGraph, infer, propagated
from lawful.models.llp.neighbours.coupling import coupled, gain, log_agreement, shares_of, strength_of
from lawful.models.llp.neighbours.radius import spectral_radius


def edges_of(graph):
    return np.array(sorted(tuple(sorted(e)) for e in graph.edges), dtype=int).reshape(-1, 2)


def dense(edges, gains):
    """The matrix of gains on directed edges, written out."""
    directed = [(int(i), int(j), g) for (i, j), g in zip(edges, gains, strict=True)]
    directed += [(j, i, g) for i, j, g in directed]
    found = np.zeros((len(directed),) * 2)
    for a, (i, j, _) in enumerate(directed):
        for b, (k, to, g) in enumerate(directed):
            if to == i and k != j:
                found[a, b] = g
    return found


@pytest.mark.kills("40s", base_rate=0.24, r=0.1)
@pytest.mark.parametrize("base_rate", [0.05, 0.24, 0.5, np.array([0.2, 0.5, 0.3])])
@pytest.mark.parametrize("r", [-0.04, 0.0, 0.1, 0.9])
def test_l5_psi_keeps_both_laws_and_gives_the_correlation(base_rate, r):
    shares = shares_of(base_rate)
    joint = np.exp(log_agreement(r, base_rate)) * shares[:, None] * shares[None]
    np.testing.assert_allclose(joint.sum(axis=0), shares, rtol=1e-12)
    np.testing.assert_allclose(joint.sum(axis=1), shares, rtol=1e-12)
    for k, share in enumerate(shares):  # of the indicators of each class
        correlation = (joint[k, k] - share**2) / (share * (1 - share))
        assert correlation == pytest.approx(r, abs=1e-12)


@pytest.mark.parametrize("base_rate", [0.24, np.array([0.2, 0.5, 0.3])])
def test_l5_a_neighbour_at_the_base_rate_says_nothing_and_others_are_passed_on_by_the_strength(base_rate):
    shares = shares_of(base_rate)
    table = np.exp(log_agreement(0.3, base_rate))
    assert np.ptp(np.log(shares @ table)) < 1e-12
    push = 1e-6 * (np.eye(len(shares))[0] - shares)
    moved = np.log((shares + push) @ table) - 0.0
    np.testing.assert_allclose(moved, 0.3 * np.log1p(push / shares), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("base_rate", [0.117, 0.5, np.array([0.2, 0.7, 0.1])])
def test_the_gain_is_the_largest_of_all_pairs_of_states_and_is_undone(base_rate):
    r = np.array([0.01, 0.2, 0.9])
    ratios = log_agreement(r, base_rate)
    for k in range(3):
        t = ratios[k]
        largest = max(
            abs(t[a, b] + t[c, d] - t[a, d] - t[c, b])
            for a in range(len(t)) for b in range(len(t)) for c in range(len(t)) for d in range(len(t))
        )  # fmt: skip
        assert gain(r, base_rate)[k] == pytest.approx(np.tanh(largest / 4), rel=1e-12)
    np.testing.assert_allclose(strength_of(gain(r, base_rate), base_rate), r, rtol=1e-9)
    assert strength_of(1.0, base_rate) == 0.9 and strength_of(0.0, base_rate) == 0.0


GRAPHS = {
    "ring": nx.cycle_graph(7),
    "complete": nx.complete_graph(5),
    "bipartite": nx.complete_bipartite_graph(3, 4),
    "periods of three": nx.Graph([(a, (a, b, k)) for a, b in nx.complete_graph(4).edges for k in (1,)]
                                 + [((a, b, 1), (a, b, 2)) for a, b in nx.complete_graph(4).edges]
                                 + [((a, b, 2), b) for a, b in nx.complete_graph(4).edges]),
    "random": nx.gnm_random_graph(30, 60, seed=1),
    "two parts": nx.disjoint_union(nx.cycle_graph(4), nx.gnm_random_graph(12, 24, seed=2)),
}  # fmt: skip


@pytest.mark.kills("40r", name="random")
@pytest.mark.parametrize("name", GRAPHS)
def test_l5_the_radius_is_that_of_the_matrix(name):
    edges = edges_of(nx.convert_node_labels_to_integers(GRAPHS[name]))
    n, rng = int(edges.max()) + 1, np.random.default_rng(0)
    for gains in (None, rng.uniform(0.1, 1.0, len(edges))):
        matrix = dense(edges, np.ones(len(edges)) if gains is None else gains)
        exact = np.abs(np.linalg.eigvals(matrix)).max()
        assert spectral_radius(edges, n, gains) == pytest.approx(exact, rel=2e-3)


def test_the_radius_of_a_forest_is_zero():
    edges = edges_of(nx.random_labeled_tree(40, seed=3))
    assert spectral_radius(edges, 40) == spectral_radius(edges, 40, np.full(39, 0.8)) == 0.0
    assert coupled(edges, 40, 0.3).strength == 0.9


@pytest.mark.rest_slow
@pytest.mark.parametrize("kappa", [0.5, 0.95])
@pytest.mark.parametrize("weighted", [False, True])
def test_l5_strengths_reach_kappa_and_messages_settle(kappa, weighted):
    edges = edges_of(GRAPHS["random"])
    rng = np.random.default_rng(4)
    weights = rng.uniform(0.2, 1.0, len(edges)) if weighted else None
    found = coupled(edges, 30, 0.2, kappa=kappa, weights=weights)
    gains = np.broadcast_to(gain(found.strength, 0.2), len(edges))
    assert np.abs(np.linalg.eigvals(dense(edges, gains))).max() == pytest.approx(kappa, rel=5e-3)
    assert found.kappa == pytest.approx(kappa, rel=5e-3)
    if weighted:
        np.testing.assert_allclose(found.strength / weights, found.strength[0] / weights[0])
    graph = FactorGraph()
    y = graph.variables("y", (30,), 2, np.stack([np.zeros(30), 2 * rng.normal(size=30)], axis=1))
    graph.factors("near", [y[edges[:, 0]], y[edges[:, 1]]], found.log_table)
    ended = propagated(graph, max_iters=2000)
    assert ended.verdict == "converged" and ended.certificate == "unique-fixed-point"


@pytest.mark.rest_slow
@pytest.mark.parametrize("seed", range(6))
def test_l5_below_the_limit_messages_settle_on_any_graph(seed):
    rng = np.random.default_rng(seed)
    made = [
        nx.gnm_random_graph(24, 60, seed=seed), nx.barabasi_albert_graph(24, 2, seed=seed), nx.complete_graph(8),
        nx.watts_strogatz_graph(24, 4, 0.2, seed=seed), nx.random_regular_graph(3, 24, seed=seed),
        nx.complete_bipartite_graph(3, 9),
    ][seed]  # fmt: skip
    edges, n, rate = edges_of(made), made.number_of_nodes(), float(rng.uniform(0.05, 0.5))
    found = coupled(edges, n, rate, kappa=0.98)
    graph = FactorGraph()
    y = graph.variables("y", (n,), 2, np.stack([np.zeros(n), 3 * rng.normal(size=n)], axis=1))
    graph.factors("near", [y[edges[:, 0]], y[edges[:, 1]]], found.log_table)
    ended = propagated(graph, max_iters=5000)
    assert ended.verdict == "converged" and ended.certificate == "unique-fixed-point"


def test_k_classes_are_coupled_as_two():
    shares = np.array([0.6, 0.25, 0.15])
    edges = edges_of(GRAPHS["random"])
    found = coupled(edges, 30, shares, kappa=0.8)
    assert found.log_table.shape == (3, 3) and found.kappa == pytest.approx(0.8)
    graph = FactorGraph()
    y = graph.variables("y", (3,), 3, np.log(shares))
    graph.factors("near", [y[[0, 1]], y[[1, 2]]], found.log_table)
    np.testing.assert_allclose(infer(graph).beliefs["y"], np.tile(shares, (3, 1)), atol=1e-12)


def test_what_is_out_of_range_is_refused():
    edges = edges_of(GRAPHS["ring"])
    with pytest.raises(LawfulError, match="allow_unstable=True"):
        coupled(edges, 7, 0.3, kappa=1.0)
    assert coupled(edges, 7, 0.3, kappa=1.1, allow_unstable=True).strength == 0.9
    with pytest.raises(LawfulError, match="both labels"):
        coupled(edges, 7, 0.0)
    with pytest.raises(LawfulError, match="expected 7 positive numbers"):
        coupled(edges, 7, 0.3, weights=np.zeros(7))
    with pytest.raises(LawfulError, match="itself"):
        spectral_radius(np.array([[0, 0]]), 1)
    with pytest.raises(LawfulError, match="strengths"):
        log_agreement(0.95, 0.3)
    with pytest.raises(LawfulError, match="strengths"):
        log_agreement(-0.5, 0.3)
