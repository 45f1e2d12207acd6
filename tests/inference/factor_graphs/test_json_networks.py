"""Project JSON: both schemas are read, what is written comes back bit for bit, and what does not fit has its place."""

import json

import jax
import numpy as np
import pytest
from hypothesis import given, settings

from lawful.errors import LawfulError, MalformedFileError
from lawful.inference.graphs import FactorGraph
from tests.inference.factor_graphs.networks import NETWORKS, PAIRWISE, network
from tests.inference.factor_graphs.written_graphs import (
    EXTREME,
    assert_same_bits,
    assert_same_measure,
    built,
    graphs,
    joint,
)

COIN = {
    "variables": [{"name": "a", "states": ["x", "y"]}, {"name": "b", "states": ["u", "v", "w"]}],
    "cpds": [
        {"variable": "a", "parents": [], "table": [[0.25, 0.75]]},
        {"variable": "b", "parents": ["a"], "table": [[0.1, 0.2, 0.7], [0.0, 0.5, 0.5]]},
    ],
}
PAIR = {"n_variables": 3, "cardinality": 2, "unary_log": [[0, 1], [2, 3], [4, None]], "edges": [[0, 1], [2, 1]],
        "coupling": [0.5, -1.5]}  # fmt: skip


def terms(graph):
    """The tables of all factors, by name and scope, and the scores of single variables that are not zero."""
    found = [
        (graph.structure.name_of(v), (scores + 0.0).tolist())
        for f, rows in zip(graph.structure.families, graph.without_evidence().potentials.unary, strict=True)
        for v, scores in enumerate(np.asarray(rows), f.offset)
        if np.any(scores != 0)
    ]
    for k, group in enumerate(graph.structure.groups):
        for row, scope in enumerate(group.scopes.tolist()):
            table = np.asarray(graph.potentials.tables[k])[0 if group.shared else row]
            names = " ".join(map(graph.structure.name_of, scope))
            found.append((names, (table + 0.0).tolist()))  # zeros without a sign
    return sorted(found, key=repr)


@settings(max_examples=60)
@given(recipe=graphs(logs=EXTREME, empty=False))
def test_what_is_written_comes_back_bit_for_bit(recipe):
    graph = built(recipe)
    back = FactorGraph.from_json(graph.to_json())
    assert terms(back) == terms(graph)
    families = [(f.name, f.shape, f.cardinality, f.states) for f in graph.structure.families]
    assert [(f.name, f.shape, f.cardinality, f.states) for f in back.structure.families] == families
    seen = {name: s.tolist() for name, s in graph.evidence.items()}
    assert {name: s.tolist() for name, s in back.evidence.items()} == seen
    assert back.to_json() == FactorGraph.from_json(back.to_json()).to_json()


def test_axes_are_the_parents_in_order_and_then_the_variable():
    graph = FactorGraph.from_json(COIN)
    np.testing.assert_allclose(
        np.exp(joint(graph)), [[0.025, 0.05, 0.175], [0.0, 0.375, 0.375]], rtol=1e-15, atol=1e-17
    )
    assert [graph.factor_name(k, 0) for k in range(2)] == ["p(a)", "p(b)"]
    assert graph.observe({"b": "u"}).evidence["b"].tolist() == 0


def test_the_score_of_an_edge_is_plus_or_minus_its_coupling():
    graph = FactorGraph.from_json(PAIR)
    unary, sign = np.array([[0, 1], [2, 3], [4, -np.inf]]), lambda a, b: 1 if a == b else -1
    for a, b, c in np.ndindex(2, 2, 2):
        expected = unary[0, a] + unary[1, b] + unary[2, c] + 0.5 * sign(a, b) - 1.5 * sign(c, b)
        assert joint(graph)[a, b, c] == expected


@pytest.mark.parametrize("name", [*NETWORKS, *PAIRWISE])
def test_the_reference_files_are_written_as_they_were_read(data, name):
    path = data / "bayesnets" / name / "network.json"
    given, written = json.loads(path.read_text()), json.loads(FactorGraph.from_json(path).to_json())
    assert written.items() <= given.items()
    assert set(given) - set(written) <= {"name", "note", "rows", "cols", "pair_log"}  # words about it, not of it


@pytest.mark.parametrize("name", [*NETWORKS, *PAIRWISE])
def test_the_reference_files_hold_the_tables_that_they_list(data, name):
    """Against the reader of the tests, which takes the tables one by one."""
    assert terms(FactorGraph.from_json(data / "bayesnets" / name / "network.json")) == terms(network(data, name))


def test_text_path_and_object_are_read_alike(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(COIN, indent=1))
    texts = {FactorGraph.from_json(x).to_json() for x in (COIN, json.dumps(COIN), tmp_path / "a.json")}
    assert texts == {json.dumps(COIN) + "\n"}
    assert FactorGraph.from_json(COIN).to_json(tmp_path / "b.json") == (tmp_path / "b.json").read_text()


def test_a_pairwise_model_is_written_as_one_only_where_it_is_one():
    graph = FactorGraph.from_json(PAIR)
    assert json.loads(graph.to_json()) == PAIR
    assert json.loads(graph.observe({"x": (2, 0)}).to_json()) == PAIR | {"evidence": [[2, 0]]}
    other = graph.replace(jax.tree.map(lambda x: x + 1, graph.potentials))
    assert "cpds" in json.loads(other.to_json())
    assert_same_measure(other, FactorGraph.from_json(other.to_json()), 0.0)
    graph.factors("more", [graph["x"]], np.zeros(2))
    assert "cpds" in json.loads(graph.to_json())


def test_a_pairwise_model_may_have_an_edge_from_a_variable_to_itself():
    given = PAIR | {"edges": [[0, 0], [0, 1], [1, 1]], "coupling": [1.0, 2.0, 4.0]}
    plain = FactorGraph.from_json(PAIR | {"edges": [[0, 1]], "coupling": [2.0]})
    np.testing.assert_array_equal(joint(FactorGraph.from_json(given)), joint(plain) + 5.0)


def test_a_model_without_edges_and_a_network_without_variables_are_valid():
    for model in ({"n_variables": 0, "cardinality": 2, "unary_log": [], "edges": [], "coupling": []},
                  {"n_variables": 2, "cardinality": 2, "edges": [], "coupling": []},
                  {"variables": [], "cpds": []}):  # fmt: skip
        graph = FactorGraph.from_json(model)
        np.testing.assert_array_equal(joint(FactorGraph.from_json(graph.to_json())), joint(graph))


def test_tables_of_linear_numbers_stay_linear_and_others_are_logs():
    graph = FactorGraph.from_json(COIN)
    assert all("table" in cpd for cpd in json.loads(graph.to_json())["cpds"])
    log_tables = json.loads(graph.replace(jax.tree.map(lambda x: x / 3, graph.potentials)).to_json())["cpds"]
    assert "log_table" in log_tables[1]
    assert log_tables[1]["log_table"][1][0] is None


def test_single_precision_comes_back(single_precision):
    graph = FactorGraph.from_json(COIN)
    back = FactorGraph.from_json(graph.to_json())
    for a, b in zip(graph.potentials.tables, back.potentials.tables, strict=True):
        assert_same_bits(a, b)
    assert json.loads(graph.to_json()) == COIN


def test_single_precision_comes_back_in_double_precision():
    graph = FactorGraph()
    z = graph.variables("z", (2,), 3)
    graph.factors("f", [z[0], z[1]], np.linspace(-3, 3, 9, dtype=np.float32).reshape(3, 3))
    back = FactorGraph.from_json(graph.to_json())
    np.testing.assert_array_equal(back.potentials.tables[0][0], graph.potentials.tables[0][0].astype(np.float64))


def changed(given, *path):
    """The object with another value at a path: the last item of it, or without the key where that is missing."""
    copy = json.loads(json.dumps(given))
    *inner, key, value = path
    at = copy
    for step in inner:
        at = at[step]
    if value is ...:
        del at[key]
    else:
        at[key] = value
    return copy


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{", "text: expected JSON: .*line 1 column 2"),
        ("{\n 1}", "expected JSON: .*line 2"),
        ('{"cpds": [1e-400]}', "1e-400 is beyond the numbers of float64"),
        ("\n[1]", "expected an object with names, found list"),
        ({"other": 1}, "expected 'cpds', of a network, or 'edges', of a pairwise model; found other"),
        (changed(COIN, "variables", ...), "JSON: expected an object with 'variables'"),
        (changed(COIN, "variables", 3), "JSON.variables: expected a list, found 3"),
        (changed(COIN, "variables", 1, "name", "a"), r"JSON.variables\[1\].name: expected a name that no other"),
        (changed(COIN, "variables", 1, "name", 7), r"variables\[1\].name: expected a text, found 7"),
        (changed(COIN, "variables", 0, "states", 0), r"variables\[0\].states: expected a whole number, 1 or more"),
        (changed(COIN, "variables", 0, "states", ["x", "x"]), "'a': expected at least one state, all with different"),
        (changed(COIN, "variables", 0, ["a"]), r"variables\[0\]: expected an object with 'name', found \[\"a\"\]"),
        (changed(COIN, "cpds", 1, "parents", ["c"]), r"cpds\[1\].parents\[0\]: expected the name of a variable"),
        (changed(COIN, "cpds", 1, "variable", "c"), r"cpds\[1\].variable: expected the name .* found \"c\""),
        (changed(COIN, "cpds", 1, "variable", [1]), r"cpds\[1\].variable: expected the name of a variable"),
        (changed(COIN, "cpds", 1, "table", ...), r"cpds\[1\]: expected an object with 'table'"),
        (changed(COIN, "cpds", 1, "table", [[1, 1], [1, 1], [1, 1]]), r"table: .* shape \(2, 3\), found \(3, 2\)"),
        (changed(COIN, "cpds", 1, "table", [[1, 1], [1]]), r"cpds\[1\].table: expected numbers of shape \(2, 3\)"),
        (changed(COIN, "cpds", 1, "table", "no"), r"cpds\[1\].table: expected numbers of shape \(2, 3\)"),
        (changed(COIN, "cpds", 0, "table", [[-0.5, 1]]), r"cpds\[0\].table: .* element \(0, 0\) is -0.5"),
        (changed(COIN, "cpds", 0, "table", [[1, float("nan")]]), r"cpds\[0\].table: .* element \(0, 1\) is nan"),
        (changed(COIN, "cpds", 0, {"variable": "a", "parents": [], "log_table": [[0, float("inf")]]}), "is inf"),
        (changed(COIN, "evidence", [["a"]]), r"evidence\[0\]: expected a variable and the number of its state"),
        (changed(COIN, "evidence", [["c", 0]]), r"evidence\[0\]\[0\]: expected a variable of the network"),
        (changed(COIN, "evidence", [["a", 2]]), r"evidence\[0\]\[1\]: expected a state from 0 to 1, found 2"),
        (changed(PAIR, "n_variables", ...), "expected an object with 'n_variables'"),
        (changed(PAIR, "n_variables", -1), "JSON.n_variables: expected a whole number, 0 or more, found -1"),
        (changed(PAIR, "cardinality", 2.0), "JSON.cardinality: expected a whole number, 1 or more, found 2.0"),
        (changed(PAIR, "unary_log", [[0, 1]]), r"unary_log: expected numbers of shape \(3, 2\), found \(1, 2\)"),
        (changed(PAIR, "edges", 1, [0, 3]), r"edges\[1\]\[1\]: expected a variable from 0 to 2, found 3"),
        (changed(PAIR, "edges", 1, [0]), r"edges\[1\]: expected two variables"),
        (changed(PAIR, "coupling", [0.5]), r"coupling: expected numbers of shape \(2,\), found \(1,\)"),
        (changed(PAIR, "coupling", [0.5, None]), "coupling: expected finite numbers"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_place(given, message):
    with pytest.raises(LawfulError, match=message):
        FactorGraph.from_json(given)


def test_a_missing_file_is_refused_with_its_name(tmp_path):
    with pytest.raises(MalformedFileError, match="none.json: the file cannot be read"):
        FactorGraph.from_json(tmp_path / "none.json")


def test_two_variables_of_one_name_are_refused():
    graph = FactorGraph()
    graph.variables("z", (1,))
    graph.variables("z[0]")
    graph.factors("f", [graph["z"]], np.zeros(2))
    with pytest.raises(LawfulError, match=r"z\[0\] stand for two variables"):
        graph.to_json()
