"""Certificates: a proof is given only where it holds, and where it holds the run does what it says."""

import numpy as np
import pytest

from lawful.inference.graphs import FactorGraph, propagated
from lawful.inference.graphs.loopy.certificates import attractive, contracts
from tests.inference.factor_graphs.truth import Truth, grid
from tests.tiers import rest_slow


def spins(seed, strength, n=6):
    """Binary spins, all in pairs."""
    rng = np.random.default_rng(seed)
    graph = FactorGraph()
    z = graph.variables("z", (n,), 2, rng.normal(size=(n, 2)))
    a, b = np.triu_indices(n, 1)
    couplings = strength * rng.normal(size=len(a))
    graph.factors("pair", [z[a], z[b]], couplings[:, None, None] * (2 * np.eye(2) - 1))
    return graph, couplings


def certified(graph):
    return contracts(graph.structure, graph.potentials)


@pytest.mark.parametrize("strength", [0.05, 0.2, 0.3, 1.0])
def test_the_certificate_is_the_spectral_radius(strength):
    """Against the eigenvalues of the whole matrix, where an Ising coupling J reacts by tanh |J|."""
    for seed in range(5):
        graph, couplings = spins(seed, strength)
        a, b = np.triu_indices(6, 1)
        source, target = np.concatenate([a, b]), np.concatenate([b, a])
        reacts, count = np.tile(np.tanh(np.abs(couplings)), 2), len(a)
        matrix = np.zeros((2 * count, 2 * count))
        for e in range(2 * count):
            for f in range(2 * count):
                if target[f] == source[e] and f % count != e % count:
                    matrix[e, f] = reacts[f]
        assert certified(graph) == (np.abs(np.linalg.eigvals(matrix)).max() < 1)


def test_bp_11_a_certified_graph_always_converges():
    """From random messages, undamped; 25 graphs at the edge of what is certified."""
    found = 0
    for seed in range(200):
        graph, _ = spins(seed, 0.28)
        if found == 25:
            break
        if certified(graph):
            found += 1
            ended = propagated(graph, damping=0.0, max_iters=3000)
            assert (ended.verdict, ended.certificate) == ("converged", "unique-fixed-point")
    assert found == 25


@pytest.mark.slow
def test_bp_11_500_certified_graphs_converge():
    found = 0
    for seed in range(10_000):
        graph, _ = spins(seed, 0.28)
        if found == 500:
            break
        if certified(graph):
            found += 1
            assert propagated(graph, damping=0.0, max_iters=3000).verdict == "converged"
    assert found == 500


def test_exclusions_and_factors_of_three_are_not_certified():
    hard = FactorGraph()
    z = hard.variables("z", (3,), 2)
    hard.factors("differ", [z, z[[1, 2, 0]]], np.array([[-np.inf, 0.0], [0.0, -np.inf]]))
    three = FactorGraph()
    x = three.variables("x", (3,), 2)
    three.factors("f", [x[0], x[1], x[2]], np.zeros((2, 2, 2)))
    assert not certified(hard) and not certified(three)


@pytest.mark.parametrize("seed", rest_slow(range(5), 2))
def test_the_bethe_value_of_an_attractive_graph_is_below_log_z(seed):
    graph = grid(np.random.default_rng(seed), 3, 3, strength=2.5)
    assert attractive(graph.structure, graph.potentials)
    found = propagated(graph, damping=0.5, max_iters=3000)
    assert (found.verdict, found.certificate) == ("converged", "lower-bound")
    assert float(found.log_z) <= Truth(graph).log_z + 1e-9


def test_a_repelling_pair_is_not_attractive():
    graph = grid(np.random.default_rng(0), 2, 2, strength=-1.0)
    assert not attractive(graph.structure, graph.potentials)
