"""The examples on factor graphs run at small sizes, and their answers are those of other means."""

import runpy

import numpy as np
import pytest

from lawful.inference.graphs.formats.uai_results import read_map, read_mar, read_pr
from tests.inference.factor_graphs.truth import Truth, grid

NETWORK = "MARKOV\n3\n2 3 2\n3\n2 0 1\n2 1 2\n1 0\n6\n1 2 0.5 3 1 0\n6\n2 1 1 4 0.5 1\n2\n0.3 0.7\n"


@pytest.fixture
def example(root, monkeypatch, tmp_path):
    """Give the names of an example, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda name: runpy.run_path(str(root / "examples" / f"{name}.py"))


@pytest.mark.rest_slow
@pytest.mark.parametrize("method", ["auto", "loopy"])
def test_a_uai_network_is_solved_from_the_command_line(example, method, tmp_path, capsys):
    """The network is a tree, so both methods are exact."""
    (tmp_path / "net.uai").write_text(NETWORK)
    (tmp_path / "net.evid").write_text("1 2 1\n")
    main, given = example("uai_network")["main"], ["net.uai", "--evidence", "net.evid", "--method", method]
    for query in ("MAR", "PR", "MAP"):
        main([*given, "--query", query])
    pair, other, own = np.array([[1, 2, 0.5], [3, 1, 0]]), np.array([[2, 1], [1, 4], [0.5, 1]]), np.array([0.3, 0.7])
    mass = own[:, None] * pair * other[:, 1]  # of the first two, the last one being seen in its second state
    marginals = mass.sum(axis=1) / mass.sum(), mass.sum(axis=0) / mass.sum(), [0, 1]
    for found, exact in zip(read_mar("net.uai.MAR"), marginals, strict=True):
        np.testing.assert_allclose(found, exact, atol=1e-9)
    assert read_pr("net.uai.PR") == pytest.approx(np.log(mass.sum()), abs=1e-9)
    assert read_map("net.uai.MAP").tolist() == [*np.unravel_index(mass.argmax(), mass.shape), 1]
    assert "certificate exact" in capsys.readouterr().out


def test_an_approximation_says_what_it_is(example, tmp_path, capsys):
    grid(np.random.default_rng(0), 3, 3, strength=0.3).to_uai(tmp_path / "grid.uai")
    example("uai_network")["main"](["grid.uai", "--method", "loopy", "--damping", "0.2", "--out", "answer"])
    told = capsys.readouterr().out
    assert "(bethe)" in told and "verdict converged, certificate unique-fixed-point" in told
    assert len(read_mar("answer")) == 9


def test_an_image_is_cleaned_and_drawn(example, tmp_path):
    names = example("image_grid")
    sizes = ["--rows", "2", "--columns", "4", "--levels", "2", "--out", "drawn/image.png"]
    rates = names["main"](sizes)
    assert (tmp_path / "drawn" / "image.png").stat().st_size > 10_000
    picture = names["image"](2, 4, 2, 0.8, 1)
    marginals = Truth(names["posterior"](picture.seen, 2, 0.8, 1.2)).variables["pixel"]
    assert rates["exact"] == np.mean(marginals.argmax(axis=-1) != picture.truth)
    assert rates["expected of exact"] == pytest.approx(np.mean(1 - marginals.max(axis=-1)))


def test_neighbours_of_an_image_prefer_to_be_equal(example):
    """Where nothing was seen of a pixel, 7 pairs that are equal score seven times what one does."""
    graph = example("image_grid")["posterior"](np.full((2, 3), 0.5), 2, 0.8, 1.2)
    rows, columns = np.indices((2, 3))
    flat, board = (graph.log_score({"pixel": x}) for x in (0 * rows, (rows + columns) % 2))
    assert float(flat - board) == pytest.approx(7 * 1.2)


def test_areas_of_an_image_have_equal_sizes(example):
    counts = np.bincount(example("image_grid")["image"](6, 10, 3, 0.5, 0).truth.ravel())
    assert counts.tolist() == [20, 20, 20]


def test_a_hidden_markov_model_has_the_evidence_of_the_forward_recursion(example):
    names = example("long_hmm")
    answer = names["main"](["--steps", "300", "--seed", "3"])
    _, measured = names["simulated"](300, 3)
    law, log_evidence = names["START"], 0.0
    for t, y in enumerate(measured):
        law = law if t == 0 else law @ names["MOVES"]
        law = law * np.exp(-0.5 * (y - names["MEANS"]) ** 2) / np.sqrt(2 * np.pi)
        log_evidence, law = log_evidence + np.log(law.sum()), law / law.sum()
    assert answer["log_evidence"] == pytest.approx(log_evidence, rel=1e-12)
    assert answer["log_score"] < answer["log_evidence"]
    assert answer["wrong_by_marginals"] < 0.2


def test_simulated_states_move_as_the_matrix_says(example):
    """Five binomial standard errors; what cannot happen does not."""
    names = example("long_hmm")
    states, _ = names["simulated"](40_000, 1)
    for a in range(3):
        for b in range(3):
            p, n = names["MOVES"][a, b], np.sum(states[:-1] == a)
            assert abs(np.sum((states[:-1] == a) & (states[1:] == b)) - n * p) <= 5 * np.sqrt(n * p * (1 - p))
