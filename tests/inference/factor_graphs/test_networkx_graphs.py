"""networkx: the scope of a factor fixes its axes, never the order of nodes or edges."""

import itertools

import networkx
import numpy as np
import pytest
from hypothesis import given, settings

from lawful.errors import LawfulError, MalformedFileError
from lawful.inference.graphs import FactorGraph
from tests.inference.factor_graphs.written_graphs import EXTREME, assert_same_measure, built, graphs, joint, terms

TABLE = np.arange(1.0, 7.0).reshape(2, 3)


def pair(edges=(("f", "a"), ("f", "b"))):
    graph = networkx.Graph()
    graph.add_node("a", bipartite=0, cardinality=2)
    graph.add_node("b", bipartite=0, states=("x", "y", "z"), log_potential=[0.0, 1.0, -np.inf])
    graph.add_node("f", bipartite=1, scope=("a", "b"), table=TABLE)
    graph.add_edges_from(edges)
    return graph


@settings(max_examples=60)
@given(recipe=graphs(logs=EXTREME, empty=False))
def test_what_is_written_comes_back_bit_for_bit(recipe):
    graph = built(recipe)
    written = graph.to_networkx()
    back = FactorGraph.from_networkx(written)
    assert terms(back) == terms(graph)
    families = [(f.name, f.shape, f.cardinality, f.states) for f in graph.structure.families]
    assert [(f.name, f.shape, f.cardinality, f.states) for f in back.structure.families] == families
    assert {n: s.tolist() for n, s in back.evidence.items()} == {n: s.tolist() for n, s in graph.evidence.items()}
    assert networkx.is_bipartite(written)
    assert len(written) == graph.structure.size + sum(group.size for group in graph.structure.groups)


def test_the_scope_fixes_the_axes_and_the_order_of_edges_does_not():
    expected = np.log(TABLE) + [0.0, 1.0, -np.inf]
    for edges in itertools.permutations([("f", "a"), ("b", "f")]):
        np.testing.assert_allclose(joint(FactorGraph.from_networkx(pair(edges))), expected, rtol=1e-15)


def test_the_order_of_the_nodes_is_that_of_the_variables_and_nothing_else():
    given = pair()
    turned = networkx.Graph()
    turned.add_nodes_from(reversed(list(given.nodes(data=True))))
    turned.add_edges_from(given.edges)
    graph = FactorGraph.from_networkx(turned)
    assert [f.name for f in graph.structure.families] == ["b", "a"]
    np.testing.assert_array_equal(joint(graph), joint(FactorGraph.from_networkx(given)).T)


def test_directed_graphs_multigraphs_and_nodes_of_any_kind_are_read():
    graph = networkx.MultiDiGraph()
    graph.add_node(0, bipartite=0, cardinality=np.int64(2))
    graph.add_node((1, 2), bipartite=0, cardinality=2, observed=1)
    graph.add_node("f", bipartite=1, scope=[(1, 2), 0, (1, 2)], log_table=np.arange(8.0).reshape(2, 2, 2))
    graph.add_edges_from([("f", 0), ((1, 2), "f"), ((1, 2), "f")])
    found = FactorGraph.from_networkx(graph)
    assert [f.name for f in found.structure.families] == ["0", "(1, 2)"]
    assert joint(found).tolist() == [[-np.inf, 5.0], [-np.inf, 7.0]]


def test_names_of_factors_are_kept_apart_from_those_of_variables():
    graph = FactorGraph()
    z = graph.variables("z", (2,))
    graph.factors("z", [z], np.zeros((2, 2)))
    written = graph.to_networkx()
    assert set(written) == {"z[0]", "z[1]", "factor z[0]", "factor z[1]"}
    back = FactorGraph.from_networkx(written)
    assert [back.factor_name(0, k) for k in range(2)] == ["z[0]", "z[1]"]


def test_a_graph_that_was_changed_is_read_node_by_node():
    graph = FactorGraph()
    graph.variables("z", (3,))
    written = graph.to_networkx()
    renamed = networkx.relabel_nodes(written, {"z[1]": "y"})
    assert [f.name for f in FactorGraph.from_networkx(renamed).structure.families] == ["z[0]", "y", "z[2]"]
    written.remove_node("z[1]")
    assert [f.name for f in FactorGraph.from_networkx(written).structure.families] == ["z[0]", "z[2]"]


def test_a_network_passes_through_networkx_to_its_file(data):
    path = data / "bayesnets" / "asia" / "network.uai"
    graph = FactorGraph.from_networkx(FactorGraph.from_uai(path).to_networkx())
    assert_same_measure(graph, FactorGraph.from_uai(path))
    assert graph.to_uai().startswith("BAYES")


@pytest.mark.parametrize(
    ("node", "data", "message"),
    [
        ("a", {"bipartite": None}, r"node 'a': expected bipartite=0 .a variable. or 1 .a factor., found None"),
        ("a", {"cardinality": 2.0}, "node 'a': expected 'states' or a whole number as 'cardinality', found 2.0"),
        ("b", {"cardinality": 2}, "node 'b': expected a cardinality of 3, as it has states, found 2"),
        ("b", {"log_potential": [0.0]}, r"node 'b': expected a log_potential of shape \(3,\), found \(1,\)"),
        ("b", {"log_potential": [0.0, np.nan, 0.0]}, "node 'b': expected a log_potential without NaN and .inf"),
        ("b", {"observed": 3}, "node 'b': expected 'observed', the number of a state from 0 to 2, found 3"),
        ("f", {"scope": ("a", "c")}, "node 'f': expected 'scope', variables of the graph"),
        ("f", {"scope": ("b", "a")}, r"node 'f': expected a table of shape \(3, 2\), found \(2, 3\)"),
        ("f", {"log_table": TABLE}, "node 'f': expected either 'table' or 'log_table'"),
        ("f", {"table": -TABLE}, "node 'f': expected a table of numbers that are finite and not negative"),
        ("f", {"table": TABLE * np.nan}, "node 'f': expected a table without NaN"),
        ("f", {"scope": ("a",), "table": TABLE[:, 0]}, "node 'f': expected edges to its scope"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_node(node, data, message):
    graph = pair()
    graph.nodes[node].update(data)
    with pytest.raises(MalformedFileError, match=message):
        FactorGraph.from_networkx(graph)


def test_two_nodes_with_one_text_are_refused():
    graph = networkx.Graph()
    graph.add_node(1, bipartite=0, cardinality=2)
    graph.add_node("1", bipartite=0, cardinality=2)
    with pytest.raises(LawfulError, match="two variables have the same text"):
        FactorGraph.from_networkx(graph)
    other = FactorGraph()
    other.variables("z", (1,))
    other.variables("z[0]")
    with pytest.raises(LawfulError, match="two variables have one name"):
        other.to_networkx()
