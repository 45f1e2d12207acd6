"""Bounds of log Z: tree-reweighted messages and trees above, mean fields below, on every graph."""

import networkx as nx
import numpy as np
import pytest

from lawful.inference.graphs import FactorGraph, bracket, eliminated, infer, most_probable, propagated
from lawful.inference.graphs.bounds import tree_bound
from lawful.inference.graphs.loopy.counting import random_forests, shares, tree_shares
from lawful.inference.graphs.mean_field import mean_field
from tests.inference.factor_graphs.networks import exact, network
from tests.inference.factor_graphs.truth import Truth, random_graph
from tests.tiers import rest_slow


def ring(seed, n=6, card=3, strength=1.5, chords=3):
    """A ring with chords, which pull together or apart."""
    rng = np.random.default_rng(seed)
    graph = FactorGraph()
    z = graph.variables("z", (n,), card, rng.normal(size=(n, card)))
    far = np.array([rng.choice(n, 2, replace=False) for _ in range(chords)]).T
    ends = np.concatenate([[np.arange(n), np.roll(np.arange(n), 1)], far], axis=1)
    tables = strength * rng.normal(size=(ends.shape[1], 1, 1)) * (2 * np.eye(card) - 1)
    graph.factors("pair", [z[ends[0]], z[ends[1]]], tables)
    return graph


def test_bp_6_tree_reweighted_messages_bound_the_grid_from_above(data):
    graph = network(data, "ising_grid_6x8")
    found = propagated(graph, counting="trw", damping=0.5, max_iters=5000)
    assert (found.verdict, found.certificate, found.log_z_kind) == ("converged", "upper-bound", "trw")
    assert float(found.log_z) - exact(data, "ising_grid_6x8")["log_partition"] == pytest.approx(2.9280, abs=1e-3)


@pytest.mark.slow
def test_bp_6_brackets_hold_log_z():
    """On 40 graphs; 200 in the slow tier."""
    for seed in range(40):
        _holds(seed)


@pytest.mark.slow
def test_bp_6_brackets_hold_log_z_on_200_graphs():
    for seed in range(40, 240):
        _holds(seed)


def _holds(seed):
    graph = ring(seed, card=2 + seed % 2)
    truth, lower, upper = Truth(graph).log_z, mean_field(graph), tree_bound(graph, forests=12)
    assert lower <= truth + 1e-9 and upper >= truth - 1e-9, seed
    assert upper - lower < 60


@pytest.mark.parametrize("seed", rest_slow(range(4), 2))
def test_tree_reweighted_messages_are_never_below(seed):
    graph = ring(seed)
    found = propagated(graph, counting="trw", damping=0.5, max_iters=3000)
    assert found.verdict == "converged"
    assert float(found.log_z) >= Truth(graph).log_z - 1e-9


def test_a_bracket_says_how_the_loopy_run_ended():
    graph = ring(0)
    found = bracket(graph)
    assert found.lower <= Truth(graph).log_z <= found.upper
    assert found.verdict == propagated(graph).verdict


@pytest.mark.parametrize("seed", rest_slow(range(6), 2))
def test_factors_of_any_number_of_variables_are_bounded_too(seed):
    graph = random_graph(seed, 5, 5, zeros=0.0)
    truth = Truth(graph).log_z
    assert mean_field(graph) <= truth + 1e-9 and tree_bound(graph, forests=10) >= truth - 1e-9


def test_shares_of_the_uniform_spanning_tree_are_its_counts():
    """Against all spanning trees of a small graph, listed."""
    graph = ring(1, n=5, chords=2)
    (edges,) = (group.scopes.tolist() for group in graph.structure.groups)
    whole = nx.MultiGraph()
    whole.add_edges_from((a, b, k) for k, (a, b) in enumerate(edges))
    count = np.zeros(len(edges))
    total = 0
    for kept in _subsets(len(edges), 4):
        if nx.is_tree(nx.Graph([edges[k] for k in kept])) and len({v for k in kept for v in edges[k]}) == 5:
            count[list(kept)] += 1
            total += 1
    np.testing.assert_allclose(tree_shares(graph.structure)[0], count / total, atol=1e-12)


def _subsets(n, size):
    import itertools

    return itertools.combinations(range(n), size)


def test_random_forests_have_no_cycle_and_hold_every_factor():
    graph = random_graph(11, 6, 8, zeros=0.0)
    structure = graph.structure
    forests = random_forests(structure, count=8)
    assert all((share > 0).all() for share in shares(structure, forests))
    for forest in forests:
        bipartite = nx.Graph()
        for number, (group, mask) in enumerate(zip(structure.groups, forest, strict=True)):
            for k in np.flatnonzero(mask):
                bipartite.add_edges_from((("factor", number, k), int(v)) for v in group.scopes[k])
        assert not len(bipartite) or nx.is_forest(bipartite)


def test_a_mean_field_of_independent_variables_is_exact():
    graph = FactorGraph()
    graph.variables("z", (4,), 3, np.random.default_rng(0).normal(size=(4, 3)))
    assert mean_field(graph) == pytest.approx(float(eliminated(graph).log_z), abs=1e-12)


def deterministic(seed):
    """A network of twelve variables, half of whose conditional probabilities are zero."""
    rng, graph, variables = np.random.default_rng(seed), FactorGraph(), []
    for k in range(12):
        parents = [variables[j] for j in rng.choice(k, size=min(k, 3), replace=False)]
        own = graph.variables(f"v{k}", cardinality=int(rng.integers(2, 5)))
        shape = tuple(v.family.cardinality for v in (*parents, own))
        weights = rng.uniform(0.1, 1.0, size=shape) * (rng.uniform(size=shape) < 0.5)
        weights[..., 0] += weights.sum(axis=-1) == 0
        with np.errstate(divide="ignore"):
            graph.factors(f"p(v{k})", [*parents, own], np.log(weights / weights.sum(axis=-1, keepdims=True)))
        variables.append(own)
    return graph


@pytest.mark.parametrize("seed", rest_slow(range(3), 2))
def test_the_lower_bound_is_finite_where_an_assignment_is_possible(seed):
    graph = deterministic(seed)
    graph = graph.observe({"v11": int(most_probable(graph).states["v11"])})
    truth = float(infer(graph, "exact").log_z)
    best = float(most_probable(graph).log_score)
    assert best - 1e-9 <= mean_field(graph) <= truth + 1e-9
