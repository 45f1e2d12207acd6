"""The UAI format: what was read is written again, what was written is read, and what is malformed has its place."""

import json
import time

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lawful.errors import LawfulError, MalformedFileError
from lawful.inference.graphs import FactorGraph, eliminated, most_probable
from lawful.inference.graphs.formats.linear import log_of_word
from lawful.inference.graphs.formats.uai_evidence import read_evidence
from lawful.inference.graphs.formats.uai_results import in_file_order
from tests.inference.factor_graphs.networks import NETWORKS, PAIRWISE, network
from tests.inference.factor_graphs.written_graphs import (
    EXTREME,
    assert_same_bits,
    assert_same_measure,
    built,
    graphs,
    joint,
)

TINY = ["5e-324", "1.1125369292536007e-308", "2.2250738585072014e-308"]
ENTRIES = (
    st.sampled_from(["0", "1", "0.5", "1e-3", *TINY])
    | st.floats(0.0, allow_infinity=False).map("{:.17g}".format)
    | st.floats(5e-324, 1e-307).map("{:.17g}".format)
)


@st.composite
def networks(draw, entries=ENTRIES):
    """A network as a solver might write it: numbers of states, scopes and entries as words."""
    cards = draw(st.lists(st.integers(1, 3), max_size=5))
    variable = st.integers(0, len(cards) - 1)
    scopes = draw(st.lists(st.lists(variable, max_size=3, unique=True), max_size=5)) if cards else []
    sizes = [int(np.prod([cards[v] for v in scope])) for scope in scopes]
    tables = [draw(st.lists(entries, min_size=size, max_size=size)) for size in sizes]
    return cards, scopes, tables


def text_of(network, head="MARKOV", space="\n"):
    cards, scopes, tables = network
    words = [head, len(cards), *cards, len(scopes), *(w for scope in scopes for w in (len(scope), *scope))]
    words += [word for table in tables for word in (len(table), *table)]
    return space.join(map(str, words)) + "\n"


def numbers_in(text):
    return [float(word) for word in text.split()[1:]]


# Round trips


@settings(max_examples=60)
@given(network=networks())
def test_a_file_that_is_read_and_written_holds_the_same_numbers_in_the_same_places(network):
    text = text_of(network)
    written = FactorGraph.from_uai(text).to_uai()
    assert numbers_in(written) == numbers_in(text)
    assert FactorGraph.from_uai(written).to_uai() == written


@settings(max_examples=60)
@given(network=networks())
def test_the_measure_is_the_product_of_the_tables_with_the_last_variable_fastest(network):
    cards, scopes, tables = network
    product = np.zeros(cards)
    for scope, table in zip(scopes, tables, strict=True):
        logs = np.array([-np.inf if float(w) == 0 else log_of_word(w) for w in table])
        sorted_axes = np.argsort(scope)
        placed = logs.reshape([cards[v] for v in scope]).transpose(sorted_axes)
        product = product + placed.reshape([cards[v] if v in scope else 1 for v in range(len(cards))])
    found = joint(FactorGraph.from_uai(text_of(network)))
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(product))
    np.testing.assert_allclose(found[np.isfinite(found)], product[np.isfinite(product)], rtol=1e-13, atol=1e-12)


@settings(max_examples=60)
@given(recipe=graphs(logs=EXTREME, empty=False))
def test_a_graph_that_is_written_and_read_has_its_measure(recipe):
    graph = built(recipe)
    assert_same_measure(graph, FactorGraph.from_uai(graph.to_uai()))


@settings(max_examples=40)
@given(recipe=graphs(empty=False, logs=st.floats(-900.0, 900.0).filter(lambda t: abs(t) >= 1)))
def test_logs_of_size_one_and_more_come_back_bit_for_bit(recipe):
    graph = built(recipe).without_evidence()
    back = FactorGraph.from_uai(graph.to_uai())
    tables = sorted(x for t in graph.potentials.unary if np.any(t) for x in np.asarray(t).reshape(-1))
    tables += [x for g, t in zip(graph.structure.groups, graph.potentials.tables, strict=True)
               for x in np.asarray(t).reshape(-1).tolist() * (g.size if g.shared else 1)]  # fmt: skip
    found = [x for t in back.potentials.tables for x in np.asarray(t).reshape(-1)]
    nonzero = [x for x in tables if x != 0]  # rows of a family without scores are not written
    assert sorted(x for x in found if x != 0) == sorted(nonzero)


@pytest.mark.parametrize("name", [*NETWORKS, *PAIRWISE])
def test_the_reference_files_come_back_letter_by_letter(data, name):
    text = (data / "bayesnets" / name / "network.uai").read_text()
    assert FactorGraph.from_uai(text).to_uai() == text


@pytest.mark.parametrize("name", [*NETWORKS, *PAIRWISE])
def test_json_and_uai_denote_the_same_measure(data, name):
    """Tables entry by entry, within the rounding of their logs."""
    text = (data / "bayesnets" / name / "network.uai").read_text()
    np.testing.assert_allclose(numbers_in(network(data, name).to_uai()), numbers_in(text), rtol=3e-15)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_its_known_marginals_in_the_order_of_the_file(data, name):
    folder = data / "bayesnets" / name
    names = [v["name"] for v in json.loads((folder / "network.json").read_text())["variables"]]
    states = {v["name"]: v["states"] for v in json.loads((folder / "network.json").read_text())["variables"]}
    for query in json.loads((folder / "exact.json").read_text())["queries"]:
        seen = {names.index(v): states[v].index(s) for v, s in query["evidence"].items()}
        graph = FactorGraph.from_uai(folder / "network.uai", seen)
        found = eliminated(graph)
        assert abs(float(found.log_z) - query["log_evidence"]) < 1e-12
        rows = dict(zip(names, in_file_order(graph, found.beliefs), strict=True))
        for variable, marginal in query["marginals"].items():
            np.testing.assert_allclose(rows[variable], marginal, rtol=0, atol=1e-12)


def test_the_best_state_is_put_into_the_order_of_the_file(data):
    folder = data / "bayesnets" / "ising_grid_6x8"
    graph = FactorGraph.from_uai(folder / "network.uai")
    best = most_probable(graph)
    states, value = best.states, best.log_score
    assert float(value) == pytest.approx(21.3235, abs=1e-10)
    given = json.loads((folder / "network.json").read_text())
    x = in_file_order(graph, states)
    total = sum(row[s] for row, s in zip(given["unary_log"], x, strict=True))
    total += sum(j if x[a] == x[b] else -j for (a, b), j in zip(given["edges"], given["coupling"], strict=True))
    assert total == pytest.approx(21.3235, abs=1e-10)


# Details of the format

PAIR = text_of(([2, 3], [[0, 1]], [["1", "2", "3", "4", "5", "6"]]))


@pytest.mark.kills("39e")
def test_the_last_variable_of_a_scope_runs_fastest():
    """A mutant that reads the axes in the other order gives the second entry to the states (1, 0)."""
    graph = FactorGraph.from_uai(PAIR)
    found = np.exp([[graph.log_score({"x:2": [a], "x:3": [b]}).item() for b in range(3)] for a in range(2)])
    np.testing.assert_allclose(found, [[1, 2, 3], [4, 5, 6]], rtol=1e-15)


@pytest.mark.parametrize("space", [" ", "\n", "\t", "\r\n", " \n\n\t "])
def test_words_stand_apart_by_white_space_of_any_kind(space):
    network = ([2, 3], [[0, 1]], [["1", "2", "3", "4", "5", "6"]])
    assert FactorGraph.from_uai(text_of(network, space=space)).to_uai().split() == PAIR.split()


def test_factors_of_one_kind_make_one_group_in_the_order_of_the_file():
    network = (
        [2, 3, 2],
        [[0, 2], [1], [2, 0], [0, 1], [2, 0]],
        [["1"] * 4, ["1"] * 3, ["1"] * 4, ["1"] * 6, ["1"] * 4],
    )
    graph = FactorGraph.from_uai(text_of(network))
    groups = {group.name: group.scopes.tolist() for group in graph.structure.groups}
    # The variables of two states come first: 0 and 2 of the file are 0 and 1, and 1 of the file is 2.
    assert groups == {"3": [[2]], "2x2": [[0, 1], [1, 0], [1, 0]], "2x3": [[0, 2]]}
    assert [f.name for f in graph.structure.families] == ["x:2", "x:3"]
    assert graph.to_uai().split() == text_of(network).split()
    assert [graph.factor_name(1, k) for k in range(3)] == ["factor 0", "factor 2", "factor 4"]


def test_a_variable_twice_in_a_scope_comes_back_once():
    network = ([2, 2], [[0, 1, 0], [1, 0], [1, 1]], [list("12345678"), list("1234"), list("5678")])
    graph = FactorGraph.from_uai(text_of(network))
    written = graph.to_uai().split()
    expected = ([2, 2], [[0, 1], [1, 0], [1]], [["1", "3", "6", "8"], list("1234"), ["5", "8"]])
    assert written == text_of(expected).split()


def test_factors_without_variables_are_numbers():
    network = ([2], [[], [0], []], [["0.5"], ["1", "3"], ["7"]])
    graph = FactorGraph.from_uai(text_of(network))
    np.testing.assert_allclose(np.exp(joint(graph)), [3.5, 10.5], rtol=1e-15)
    assert graph.to_uai().split() == text_of(network).split()


@pytest.mark.parametrize("text", ["MARKOV 0 0", "MARKOV\n0\n\n0\n", "BAYES 0 0", "MARKOV 2 1 3 0"])
def test_files_without_factors_are_valid(text):
    graph = FactorGraph.from_uai(text)
    assert graph.to_uai().split() == text.split()


def test_rows_of_zeros_exclude_what_they_should():
    graph = FactorGraph.from_uai("MARKOV 2 2 2 1 2 0 1 4 0 0 0 0.0")
    assert float(eliminated(graph).log_z) == -np.inf


def test_a_network_is_called_bayes_only_where_it_still_is_one():
    network = ([2, 2], [[0], [0, 1]], [["0.5", "0.5"], ["0.1", "0.9", "0.2", "0.8"]])
    graph = FactorGraph.from_uai(text_of(network, "BAYES"))
    assert graph.to_uai().startswith("BAYES")
    assert graph.observe({"x": (0, 1)}).to_uai().startswith("MARKOV")
    graph.factors("more", [graph["x"][0]], np.zeros(2))
    assert graph.to_uai().startswith("MARKOV")
    assert FactorGraph.from_uai(text_of(network)).to_uai().startswith("MARKOV")
    constant = ([2], [[0], []], [["0.5", "0.5"], ["1"]])
    assert FactorGraph.from_uai(text_of(constant, "BAYES")).to_uai().startswith("MARKOV")
    circle = ([2, 2], [[1, 0], [0, 1]], [["1"] * 4] * 2)
    assert FactorGraph.from_uai(text_of(circle, "BAYES")).to_uai().startswith("MARKOV")


def test_the_child_of_a_table_is_the_last_variable(data):
    folder = data / "bayesnets" / "asia"
    graph = FactorGraph.from_uai(folder / "network.uai")
    for logs in graph.potentials.tables:
        np.testing.assert_allclose(np.exp(logs).sum(axis=-1), 1.0, rtol=1e-15)


def test_numbers_beyond_float64_are_read_by_their_logs_and_stay_positive():
    graph = FactorGraph.from_uai("MARKOV 1 3 1 1 0 3 1e-400 1e400 3e-320")
    expected = [-400 * np.log(10), 400 * np.log(10), np.log(3) - 320 * np.log(10)]
    np.testing.assert_allclose(joint(graph), expected, rtol=1e-15)
    assert_same_bits(joint(graph), joint(FactorGraph.from_uai(graph.to_uai())))


def test_single_precision_graphs_come_back_from_their_file(single_precision):
    text = "MARKOV 2 2 2 1 2 0 1 4 0.1 1e-10 0 0.30000000000000004"
    graph = FactorGraph.from_uai(text)
    assert graph.potentials.tables[0].dtype == np.float32
    assert graph.to_uai().split()[1:] == [*"2 2 2 1 2 0 1 4".split(), "0.10000000000000001", "1e-10", "0",
                                         "0.30000000000000004"]  # fmt: skip


def test_other_potentials_are_written_as_they_are():
    graph = FactorGraph.from_uai(PAIR)
    halved = graph.replace(jax.tree.map(lambda x: x - np.log(2.0), graph.potentials))
    found = numbers_in(halved.to_uai())[-6:]
    np.testing.assert_allclose(found, np.arange(1, 7) / 2, rtol=1e-15)


def test_scores_of_variables_are_factors_before_all_others():
    graph = FactorGraph()
    z = graph.variables("z", (2,), 2, np.array([[0.0, 0.0], [-np.inf, 1.0]]))
    graph.factors("f", [z[0], z[1]], np.zeros((2, 2)))
    assert graph.to_uai().split()[:11] == "MARKOV 2 2 2 2 1 1 2 0 1 2".split()


def test_what_is_added_to_a_graph_that_was_read_comes_after_it():
    graph = FactorGraph.from_uai(PAIR)
    y = graph.variables("y", (), 2)
    graph.factors("g", [graph["x:3"][0], y], np.zeros((3, 2)))
    words = graph.to_uai().split()
    assert words[1:5] == ["3", "2", "3", "2"]
    assert words[5:12] == ["2", "2", "0", "1", "2", "1", "2"]


# Evidence with a network


def test_evidence_goes_to_the_variables_of_the_file(tmp_path):
    text = text_of(([2, 3, 2], [[0, 1, 2]], [[str(k + 1) for k in range(12)]]))
    (tmp_path / "network.uai").write_text(text)
    (tmp_path / "network.uai.evid").write_text("2 2 1 1 2\n")
    graph = FactorGraph.from_uai(tmp_path / "network.uai", tmp_path / "network.uai.evid")
    seen = np.isfinite(joint(graph))
    assert np.argwhere(seen).tolist() == [[0, 2, 1], [1, 2, 1]]


def test_evidence_is_written_beside_the_network_or_into_it(tmp_path):
    graph = FactorGraph.from_uai(text_of(([2, 3], [[0, 1]], [["1"] * 6])), {1: 2, 0: 0})
    inside = FactorGraph.from_uai(graph.to_uai())
    np.testing.assert_array_equal(joint(inside), joint(graph))
    assert not inside.evidence
    graph.to_uai(tmp_path / "n.uai", tmp_path / "n.evid")
    assert read_evidence(tmp_path / "n.evid") == [{0: 0, 1: 2}]
    beside = FactorGraph.from_uai(tmp_path / "n.uai", tmp_path / "n.evid")
    assert {k: v.tolist() for k, v in beside.evidence.items()} == {k: v.tolist() for k, v in graph.evidence.items()}
    np.testing.assert_array_equal(joint(beside), joint(graph))


@pytest.mark.parametrize(
    ("evidence", "message"),
    [
        ({2: 0}, "2 variables, there is no number 2"),
        ({-1: 0}, "there is no number -1"),
        ({1: 3}, "variable 1 has states from 0 to 2, got 3"),
        ("2\n1 0 1\n1 0 0\n", "expected one sample, got 2"),
        ("1 7 0", "there is no number 7"),
    ],
)
def test_evidence_that_the_network_does_not_have_is_refused(evidence, message):
    with pytest.raises(LawfulError, match=message):
        FactorGraph.from_uai(PAIR, evidence)


def test_traced_numbers_cannot_be_written():
    graph = FactorGraph.from_uai(PAIR)
    with pytest.raises(LawfulError, match="traced"):
        jax.jit(lambda p: graph.replace(p).to_uai() and 0)(graph.potentials)
    with pytest.raises(LawfulError, match="traced"):
        jax.jit(lambda s: graph.observe({"x:2": (0, s)}).to_uai() and 0)(1)


# Malformed files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "text, line 1, word 1: expected BAYES or MARKOV, .* found the end"),
        ("  \n ", "word 1: expected BAYES or MARKOV"),
        ("graph {\n a -- b\n}", "line 1, word 1: expected BAYES or MARKOV, .* found 'graph'"),
        ("\n\nMARKOVIAN 1", "line 3, word 1: expected BAYES or MARKOV, .* found 'MARKOVIAN'"),
        ("MARKOV", "word 2: expected the number of variables, found the end"),
        ("MARKOV two", "word 2: expected the number of variables, found 'two'"),
        ("MARKOV -1", "word 2: expected the number of variables, found '-1'"),
        ("MARKOV 2\n2", "line 2, word 4: expected the number of states of a variable, 1 or more, found the end"),
        ("MARKOV 2\n2 0", "line 2, word 4: expected the number of states of a variable, 1 or more, found '0'"),
        ("MARKOV 2\n2 2.5", "line 2, word 4: expected the number of states .* found '2.5'"),
        ("MARKOV 1\n2", "word 4: expected the number of factors, found the end"),
        ("MARKOV 1\n2\n1.0", "line 3, word 4: expected the number of factors, found '1.0'"),
        ("MARKOV 1\n2\n1\n", "word 5: expected the scopes of 1 factors, found the end"),
        ("MARKOV 1\n2\n999999999999 1 0", "word 7: expected the scopes of 999999999999 factors, found the end"),
        ("MARKOV 1\n2\n2\n1 0", "word 7: expected the number of variables in the scope of factor 1, found the end"),
        ("MARKOV 1\n2\n1\n2 0", "word 7: expected a variable in the scope of factor 0, found the end"),
        ("MARKOV 1\n2\n1\n1 1\n2 1 1", "line 4, word 6: expected a variable from 0 to 0 in the scope of factor 0"),
        ("MARKOV 2\n2 2\n2\n1 0\n1 -1\n2 1 1", "line 5, word 9: .* in the scope of factor 1, found '-1'"),
        ("MARKOV 1\n2\n1\n1 x\n2 1 1", "line 4, word 6: expected the number of a variable, found 'x'"),
        ("MARKOV 1\n2\n1\n63 0", "word 5: expected at most 62 variables in the scope of factor 0, found '63'"),
        ("MARKOV 1\n2\n1\n1 0", "word 7: expected 2 entries of factor 0 on variables 0 .0 are there., found the end"),
        (
            "MARKOV 1\n2\n1\n1 0\n3 1 1 1",
            "line 5, word 7: expected 2, the number of entries of factor 0 on",
        ),
        ("MARKOV 1\n2\n1\n1 0\n2 1", "word 9: expected 2 entries of factor 0 .*1 are there., found the end"),
        ("MARKOV 1\n2\n1\n1 0\n2 1 1 1", "line 5, word 10: expected the end after the tables of 1 factors, found '1'"),
        (
            "MARKOV 1\n2\n2\n1 0\n1 0\n2\n0.5\n2\n1 1\n",
            "line 9, word 12: expected 2, the number of entries of factor 1 .* found '1'. Fix: .* 0 has 2 entries",
        ),
        ("MARKOV 1\n2\n1\n1 0\n2 1 -0.5", "line 5, word 9: expected an entry that is zero or positive, found '-0.5'"),
        ("MARKOV 1\n2\n1\n1 0\n2 nan 1", "line 5, word 8: expected an entry that is zero or positive, found 'nan'"),
        ("MARKOV 1\n2\n1\n1 0\n2 1 inf", "line 5, word 9: expected an entry that is finite, found 'inf'"),
        ("MARKOV 1\n2\n1\n1 0\n2 1 Infinity", "word 9: expected an entry that is finite"),
        ("MARKOV 1\n2\n1\n1 0\n2 1 1e9999999999999999999", "word 9: expected an entry that is finite"),
        ("MARKOV 1\n2\n1\n1 0\n2 1 1e-9999999999999999999", "word 9: expected an entry that is finite"),
        ("MARKOV 1\n2\n1\n1 0\n2 1 one", "line 5, word 9: expected the entry of a table, found 'one'"),
        ("MARKOV 1\n2\n1\n1 0\n2 1 1_0", "line 5, word 9: expected words of ASCII letters, or numbers, found '1_0'"),
        ("MARKOV 1\n٢\n0", "line 2, word 3: expected words of ASCII"),
        ("MARKOV 99999999999999999999\n", "word 2: expected the number of variables"),
        (
            f"MARKOV 50\n{'2 ' * 50}\n1\n50 {' '.join(map(str, range(50)))}\n4 1 1 1 1",
            r"expected tables that fit in memory, but factor 0 has 2\*\*50 entries",
        ),
    ],
)
def test_a_malformed_file_is_refused_with_line_and_word(text, message):
    with pytest.raises(MalformedFileError, match=message):
        FactorGraph.from_uai(text)


@settings(max_examples=100)
@given(network=networks(entries=st.just("0.5")), data=st.data())
def test_a_file_that_was_cut_is_refused(network, data):
    words = text_of(network).split()
    cut = data.draw(st.integers(0, len(words) - 1))
    with pytest.raises(MalformedFileError):
        FactorGraph.from_uai("\n".join(words[:cut]) + "\n")


def test_a_file_that_is_missing_or_no_text_is_refused_with_its_name(tmp_path):
    with pytest.raises(MalformedFileError, match=r"none\.uai: the file cannot be read .*Fix: give the path"):
        FactorGraph.from_uai(tmp_path / "none.uai")
    (tmp_path / "bytes.uai").write_bytes(b"MARKOV \xff\xfe\x00")
    with pytest.raises(MalformedFileError, match=r"bytes\.uai: expected text"):
        FactorGraph.from_uai(str(tmp_path / "bytes.uai"))
    (tmp_path / "bad.uai").write_text("MARKOV 1")
    with pytest.raises(MalformedFileError, match=r"bad\.uai, line 1, word 3") as caught:
        FactorGraph.from_uai(tmp_path / "bad.uai")
    assert (caught.value.line, caught.value.word) == (1, 3)


def test_a_byte_order_mark_is_no_word(tmp_path):
    (tmp_path / "marked.uai").write_bytes(b"\xef\xbb\xbfMARKOV 0 0")
    assert FactorGraph.from_uai(tmp_path / "marked.uai").structure.size == 0


def test_many_small_factors_take_few_groups_and_no_time():
    count = 20_000
    rng = np.random.default_rng(20261)
    scopes = np.stack([np.arange(count), np.arange(1, count + 1)], axis=1)
    entries = rng.uniform(size=(count, 4))
    words = ["MARKOV", count + 1, *([2] * (count + 1)), count]
    words += [w for pair in scopes.tolist() for w in (2, *pair)]
    words += [w for table in entries.tolist() for w in (4, *table)]
    text = " ".join(map(str, words))
    start = time.process_time()
    graph = FactorGraph.from_uai(text)
    assert time.process_time() - start < 10  # a tenth of a second; a few microseconds for each factor
    (group,) = graph.structure.groups
    np.testing.assert_array_equal(group.scopes, scopes)
    np.testing.assert_array_equal(graph.potentials.tables[0], np.log(entries).reshape(-1, 2, 2))
