"""Folding: a graph whose cliques became counts has the same measure, and is solved where its pairs were too many."""

from itertools import combinations
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.errors import DuplicateSiteError, LawfulError, WidthError
from lawful.inference.graphs import FactorGraph, folded, infer, propagated
from tests.inference.factor_graphs.truth import Truth


def pairs_of(rng, sets):
    """All pairs of each set, in any order and either way round."""
    pairs = rng.permutation(np.array([pair for own in sets for pair in combinations(own, 2)]))
    return np.where(rng.random((len(pairs), 1)) < 0.5, pairs, pairs[:, ::-1])


def clique_graph(sets, tables, rng=None, seen=()):
    """Variables, one of them ternary, joined in sets; `tables` gives the table of each pair."""
    rng = rng or np.random.default_rng(0)
    count = 1 + max(v for own in sets for v in own)
    graph = FactorGraph()
    z = graph.variables("z", cardinality=3, log_potential=rng.normal(size=3))
    y = graph.variables("y", (count,), 2, rng.normal(size=(count, 2)))
    pairs = pairs_of(rng, sets)
    graph.factors("bag", [y[pairs[:, 0]], y[pairs[:, 1]]], tables(pairs))
    graph.factors("read", [z, y[0]], rng.normal(size=(3, 2)))
    return graph.observe({"y": (list(seen), [1] * len(seen))}) if seen else graph


SETS = {"one set": [[0, 2, 3, 4]], "sets unlike": [[4, 1, 2, 0], [3, 5, 6, 7, 8]]}
TABLES = {
    "shared": lambda pairs: np.array([[0.3, -0.4], [-0.4, 1.1]]),
    "one each": lambda pairs: np.tile([[0.2, -0.7], [-0.7, 0.5]], (len(pairs), 1, 1)),
    "all alike": lambda pairs: np.array([[0.5, -np.inf], [-np.inf, 0.2]]),
    "one at most": lambda pairs: np.array([[0.0, 0.1], [0.1, -np.inf]]),
}


@pytest.mark.rest_slow
@pytest.mark.parametrize("tables", TABLES)
@pytest.mark.parametrize("sets", SETS)
def test_the_measure_is_that_of_the_pairs(sets, tables):
    graph = clique_graph(SETS[sets], TABLES[tables], seen=(2,))
    counts = folded(graph)
    assert [group.name for group in counts.structure.groups] == ["read"]
    assert [count.name for count in counts.structure.counted] == ["~bag"]
    pairs, found = Truth(graph), Truth(counts)
    assert found.log_z == pytest.approx(pairs.log_z, abs=1e-12)
    assert found.largest == pytest.approx(pairs.largest, abs=1e-12)
    for name, p in pairs.variables.items():
        np.testing.assert_allclose(found.variables[name], p, atol=1e-12)
    free = Truth(counts.without_evidence()).log_z
    assert free == pytest.approx(Truth(graph.without_evidence()).log_z, abs=1e-12)


def test_a_set_may_have_a_table_of_its_own():
    first, second = SETS["sets unlike"]

    def tables(pairs):
        return np.where(np.isin(pairs[:, 0], first)[:, None, None], [[0.2, 0.9], [0.9, 0.0]], [[0.0, -0.3], [-0.3, 1]])

    graph = clique_graph([first, second], tables)
    counts = folded(graph)
    assert len(counts.structure.counted) == 1
    assert Truth(counts).log_z == pytest.approx(Truth(graph).log_z, abs=1e-12)


def test_what_is_no_count_stays():
    one = [[0, 1, 2, 3]]
    turned = clique_graph(one, lambda pairs: np.array([[0.0, 0.1], [0.2, 0.0]]))
    unlike = clique_graph(one, lambda pairs: np.random.default_rng(0).normal(size=(6, 1, 1)) * np.eye(2))
    small = clique_graph([[0, 1, 2]], TABLES["shared"])
    for graph in (turned, unlike, small):
        assert folded(graph) is graph


@pytest.mark.slow
def test_cliques_over_budget_are_exact_as_counts():
    size, table = 40, np.array([[0.02, -0.05], [-0.05, 0.03]])
    graph = FactorGraph()
    y = graph.variables("y", (size,))
    first, second = np.triu_indices(size, 1)
    graph.factors("bag", [y[first], y[second]], table)
    assert "780 factors of 2 variables, tables of 32 B in all: 1 clique of 40" in graph.summary()
    assert "~bag  1 count of bags of 40, 40 members" in folded(graph).summary()
    with pytest.raises(WidthError):
        infer(graph, approximate=False)
    pairs = [np.array([comb(size - s, 2), s * (size - s), comb(s, 2)]) for s in range(size + 1)]
    scores = [np.log(comb(size, s)) + pairs[s] @ table[[0, 0, 1], [0, 1, 1]] for s in range(size + 1)]
    found = infer(folded(graph), approximate=False)
    assert found.certificate == "exact"
    assert float(found.log_z) == pytest.approx(np.logaddexp.reduce(scores), rel=1e-12)
    share = np.exp(scores - np.logaddexp.reduce(scores)) @ np.arange(size + 1) / size
    np.testing.assert_allclose(found.beliefs["y"][:, 1], share, atol=1e-12)
    assert list(found.marginals) == ["y"]
    around = propagated(graph, damping=0.5)
    assert around.converged
    assert np.abs(around.beliefs["y"][:, 1] - share).max() > 1e-4, "messages of pairs go around"


def test_tables_have_to_be_known_and_names_free():
    graph = clique_graph([[0, 1, 2, 3]], TABLES["shared"])

    def mass(table):
        tables = (table[None], *graph.potentials.tables[1:])
        return infer(folded(graph.replace(type(graph.potentials)(graph.potentials.unary, tables)))).log_z

    with pytest.raises(LawfulError, match="traced"):
        jax.grad(mass)(jnp.zeros((2, 2)))
    graph.variables("~bag")
    with pytest.raises(DuplicateSiteError, match="taken"):
        folded(graph)
