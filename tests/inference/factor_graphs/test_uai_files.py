"""Evidence and results of UAI solvers: both forms of each file, and what is malformed."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lawful.errors import LawfulError, MalformedFileError
from lawful.inference.graphs import FactorGraph
from lawful.inference.graphs.formats.uai_evidence import evidence_text, observed, read_evidence
from lawful.inference.graphs.formats.uai_results import (
    in_file_order,
    map_text,
    mar_text,
    pr_text,
    read_map,
    read_mar,
    read_pr,
)

EVIDENCE = st.dictionaries(st.integers(0, 9), st.integers(0, 3), max_size=4)
MARGINALS = st.lists(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=3), max_size=4)


def sample(seen):
    return " ".join(map(str, (len(seen), *(n for pair in seen.items() for n in pair))))


@settings(max_examples=200)
@given(seen=EVIDENCE)
def test_evidence_comes_back(seen):
    assert read_evidence(evidence_text(seen)) == [seen]


@settings(max_examples=200)
@given(samples=st.lists(EVIDENCE, min_size=1, max_size=3))
def test_the_older_form_has_the_number_of_samples_in_front(samples):
    """Each sample on a line of its own, so that it is read as it was meant even where the newer form fits, too."""
    assert read_evidence("\n".join([str(len(samples)), *map(sample, samples)]) + "\n") == samples


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0", [{}]),
        ("0\n", [{}]),
        ("1\n0\n", [{}]),
        ("1 3 0", [{3: 0}]),
        ("1\n3 0\n", [{3: 0}]),
        ("1 1 3 0", [{3: 0}]),
        ("2\n0 1\n1 0", [{0: 1, 1: 0}]),
        ("2 0 1 1 0", [{0: 1, 1: 0}]),
        ("2\n0\n1 1 0", [{}, {1: 0}]),
        ("1\t2\n0 1 1 0", [{0: 1, 1: 0}]),
        ("2 5 1 5 1", [{5: 1}]),
    ],
)
def test_which_form_a_text_has(text, found):
    assert read_evidence(text) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "word 1: expected how many variables were seen"),
        ("2 0 1 1", "word 5: expected number and state of 2 variables .* found the end"),
        ("1 0 1\n1", "line 2, word 4: expected number and state of 1 variables and then the end"),
        ("1 0 x\n", "line 1, word 3: expected a whole number, .* found 'x'"),
        ("1 0 -1\n", "word 3: expected a whole number"),
        ("1 0 0.5\n", "word 3: expected a whole number"),
        ("2 5 1 5 0", "word 5: expected 1, the state of variable 5 that was given before, found '0'"),
    ],
)
def test_malformed_evidence_is_refused_with_line_and_word(text, message):
    with pytest.raises(MalformedFileError, match=message):
        read_evidence(text)


def test_variables_are_observed_by_their_numbers_in_the_file():
    graph = FactorGraph.from_uai("MARKOV 4 3 2 3 2 0", {0: 2})
    graph = observed(graph, {3: 1, 2: 0})
    assert {name: seen.tolist() for name, seen in graph.evidence.items()} == {"x:2": [-1, 1], "x:3": [2, 0]}
    assert observed(graph, {}).evidence.keys() == graph.evidence.keys()


@settings(max_examples=100)
@given(rows=MARGINALS)
def test_marginals_come_back_bit_for_bit(rows):
    text = mar_text([np.array(row) for row in rows])
    assert [row.tolist() for row in read_mar(text)] == rows
    older = text.replace("MAR\n", "MAR\n1\n", 1)
    assert [row.tolist() for row in read_mar(older)] == rows


@given(states=st.lists(st.integers(0, 5), max_size=5))
def test_states_come_back(states):
    text = map_text(states)
    assert read_map(text).tolist() == states
    if states:  # without a variable, the older form is the newer one of a variable in state 0
        assert read_map(text.replace("MAP\n", "MPE\n1\n", 1)).tolist() == states


@given(log_z=st.floats(-1e6, 1e6))
def test_the_mass_is_written_as_log10_and_comes_back_as_a_natural_log(log_z):
    text = pr_text(log_z)
    assert float(text.split()[1]) == pytest.approx(log_z / math.log(10), rel=1e-15)
    for form in (text, text.replace("PR\n", "PR\n1\n", 1)):
        assert abs(read_pr(form) - log_z) <= 2 * np.spacing(abs(log_z))


def test_a_mass_of_zero_comes_back():
    assert read_pr(pr_text(-math.inf)) == -math.inf
    assert read_pr("PR\n1") == math.log(10.0)


def test_results_are_written_where_a_path_is_given(tmp_path):
    for text, read in ((mar_text([[0.5, 0.5]], tmp_path / "a"), read_mar), (pr_text(1.5, tmp_path / "b"), read_pr),
                       (map_text([1, 0], tmp_path / "c"), read_map)):  # fmt: skip
        path = tmp_path / {"MAR": "a", "PR": "b", "MAP": "c"}[text.split()[0]]
        assert path.read_text() == text
        np.testing.assert_array_equal(read(path), read(text))


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_mar, "", "expected MAR, with which the file begins, found the end"),
        (read_mar, "PR\n0", "expected MAR, with which the file begins, found 'PR'"),
        (read_mar, "MAR\n2 2 0.5 0.5", "word 6: expected the number of states of variable 1, found the end"),
        (read_mar, "MAR\n1 2 0.5\n", "expected 2 probabilities of variable 0, found the end"),
        (read_mar, "MAR\n1 2 0.5 1.5\n", "word 5: expected a probability, found '1.5'"),
        (read_mar, "MAR\n1 2 nan 0.5\n", "word 4: expected a probability, found 'nan'"),
        (read_mar, "MAR\n1 1 1.0 7\n", "word 5: expected the end, found '7'"),
        (read_pr, "PR\n", "expected the log10 of the total mass, found the end"),
        (read_pr, "PR\nnan", "expected the log10 of a finite mass, found 'nan'"),
        (read_pr, "PR\n1 2 3", "word 4: expected the end, found '3'"),
        (read_map, "MAP\n3 1 0\n", "expected the states of 3 variables, found the end"),
        (read_map, "MAP\n1 1.5\n", "expected the states of 1 variables, found '1.5'"),
        (read_map, "MAP\n1 1 2 2\n", "expected the end, found '2'"),
    ],
)
def test_malformed_results_are_refused_with_line_and_word(read, text, message):
    with pytest.raises(MalformedFileError, match=message):
        read(text)


def test_values_are_put_into_the_order_of_the_file():
    graph = FactorGraph.from_uai("MARKOV 4 3 2 3 2 0")
    values = {"x:2": np.arange(4.0).reshape(2, 2), "x:3": 10 + np.arange(6.0).reshape(2, 3)}
    rows = [row.tolist() for row in in_file_order(graph, values)]
    assert rows == [[10.0, 11.0, 12.0], [0.0, 1.0], [13.0, 14.0, 15.0], [2.0, 3.0]]
    with pytest.raises(LawfulError, match="values of 'x:3' are missing"):
        in_file_order(graph, {"x:2": values["x:2"]})
    with pytest.raises(LawfulError, match=r"'x:3': expected an array \(2,\)"):
        in_file_order(graph, values | {"x:3": np.zeros((3, 3))})


def test_values_of_arrays_are_in_row_major_order():
    graph = FactorGraph()
    graph.variables("z", shape=(2, 2))
    assert in_file_order(graph, {"z": [[1, 2], [3, 4]]}) == [1, 2, 3, 4]
