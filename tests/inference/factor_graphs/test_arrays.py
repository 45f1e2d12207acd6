"""A graph in an .npz file: what is loaded is what was saved, bit for bit, and nothing in a file is run."""

import json
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from lawful.errors import LawfulError, MalformedFileError
from lawful.inference.graphs import FactorGraph
from lawful.inference.graphs.formats.assembling import linear, ragged, with_factors
from tests.inference.factor_graphs.written_graphs import EXTREME, assert_same_bits, built, graphs


def assert_same(one, other):
    """The two graphs are the same in all they hold."""
    assert one.structure == other.structure
    for a, b in zip(one.structure.families, other.structure.families, strict=True):
        assert a == b
    for a, b in zip(one.structure.groups, other.structure.groups, strict=True):
        assert (a.name, a.cardinalities, a.shared) == (b.name, b.cardinalities, b.shared)
        np.testing.assert_array_equal(a.scopes, b.scopes)
    for a, b in zip(jax.tree.leaves(one.potentials), jax.tree.leaves(other.potentials), strict=True):
        assert_same_bits(a, b)
    unseen = (a.without_evidence().potentials for a in (one, other))
    for a, b in zip(*map(jax.tree.leaves, unseen), strict=True):
        assert_same_bits(a, b)
    assert {n: s.tolist() for n, s in one.evidence.items()} == {n: s.tolist() for n, s in other.evidence.items()}
    assert one.notes.directed == other.notes.directed
    np.testing.assert_array_equal(*(a.notes.file_numbers(a.structure.size) for a in (one, other)))
    for k, group in enumerate(one.structure.groups):
        assert [one.factor_name(k, j) for j in range(group.size)] == [
            other.factor_name(k, j) for j in range(group.size)
        ]
        a, b = one.notes.on(group.name), other.notes.on(group.name)
        for x, y in ((a.places, b.places), (a.entries, b.entries)):
            assert (x is None) == (y is None)
            assert x is None or x.tobytes() == y.tobytes()


@settings(max_examples=60)
@given(recipe=graphs(logs=EXTREME))
def test_what_is_loaded_is_what_was_saved(recipe, tmp_path_factory):
    graph = built(recipe)
    path = tmp_path_factory.getbasetemp() / "graph.npz"
    graph.save(path)
    assert_same(graph, FactorGraph.load(path))


@pytest.mark.parametrize("name", ["alarm", "ising_grid_6x8"])
def test_what_a_file_said_of_a_graph_is_kept(data, name, tmp_path):
    text = (data / "bayesnets" / name / "network.uai").read_text()
    graph = FactorGraph.from_uai(text, {3: 1})
    graph.save(tmp_path / "graph")
    back = FactorGraph.load(tmp_path / "graph")
    assert_same(graph, back)
    assert back.without_evidence().to_uai() == text
    assert_same(back, FactorGraph.load(str(tmp_path / "graph.npz")))


def test_names_of_factors_are_kept(tmp_path):
    graph = FactorGraph()
    graph.variables("a", states=["ü", "ß"])
    with_factors(graph, ragged([linear("p(a)", (0,), np.array([0.5, 0.5]))]))
    graph.save(tmp_path / "graph.npz")
    assert FactorGraph.load(tmp_path / "graph.npz").factor_name(0, 0) == "p(a)"


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64])
def test_the_precision_is_kept(dtype, tmp_path):
    graph = FactorGraph()
    z = graph.variables("z", (2,), 2, jnp.array([0.1, -jnp.inf], dtype))
    graph.factors("f", [z[0], z[1]], jnp.arange(4.0).reshape(2, 2).astype(dtype))
    graph.save(tmp_path / "graph.npz")
    back = FactorGraph.load(tmp_path / "graph.npz")
    assert {x.dtype for x in jax.tree.leaves(back.potentials)} == {np.dtype(dtype)}
    assert_same(graph, back)


def test_a_shared_table_stays_one_table(tmp_path):
    graph = FactorGraph()
    z = graph.variables("z", (1000,), 2)
    graph.factors("step", [z[:-1], z[1:]], np.eye(2))
    graph.save(tmp_path / "graph.npz")
    assert FactorGraph.load(tmp_path / "graph.npz").potentials.tables[0].shape == (1, 2, 2)


def test_no_object_is_pickled_and_the_header_is_json(tmp_path):
    graph = FactorGraph()
    graph.variables("z", (2,), states=["a", "b"])
    graph.save(tmp_path / "graph.npz")
    with np.load(tmp_path / "graph.npz", allow_pickle=False) as file:
        assert all(file[name].dtype.kind in "fiuU" for name in file.files)
        assert json.loads(str(file["factor graph"]))["families"][0]["states"] == ["a", "b"]


def test_traced_numbers_cannot_be_saved(tmp_path):
    graph = FactorGraph()
    z = graph.variables("z")
    graph.factors("f", [z], np.zeros(2))
    with pytest.raises(LawfulError, match="traced"):
        jax.jit(lambda p: graph.replace(p).save(tmp_path / "graph.npz") or 0)(graph.potentials)
    assert list(tmp_path.iterdir()) == []


def test_a_graph_in_use_is_replaced_only_by_a_complete_one(tmp_path, monkeypatch):
    graph = FactorGraph()
    graph.variables("z")
    graph.save(tmp_path / "graph.npz")
    before = (tmp_path / "graph.npz").read_bytes()
    monkeypatch.setattr("numpy.savez", fails)
    with pytest.raises(OSError, match="disk full"):
        graph.save(tmp_path / "graph.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["graph.npz"]
    assert (tmp_path / "graph.npz").read_bytes() == before


def fails(*args, **arrays):
    raise OSError("disk full")


def rewritten(path, change):
    """Save the arrays of a file again after a change."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    change(arrays)
    np.savez(path, **arrays)


def header(arrays, **new):
    arrays["factor graph"] = np.array(json.dumps(json.loads(str(arrays["factor graph"])) | new))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("factor graph"), "expected a factor graph as .npz"),
        (lambda a: a.update({"factor graph": np.array("{")}), "expected a factor graph as .npz"),
        (lambda a: header(a, format=99), "expected format 2 or less, found 99"),
        (lambda a: a.pop("tables 0"), "a part is missing"),
        (lambda a: a.pop("seen"), "a part is missing"),
        (lambda a: a.update({"scopes 0": np.array([[0, 9]])}), "the scopes of 'f' hold a variable that is none"),
        (lambda a: a.update({"unary 0": np.zeros((1, 2))}), "a part is missing or does not fit"),
        (lambda a: a.update({"tables 0": np.zeros((2, 2, 2))}), r"'f' has tables \(2, 2, 2\) and scopes \(1, 2\)"),
    ],
)
def test_a_file_that_is_damaged_is_refused(change, message, tmp_path):
    graph = FactorGraph()
    z = graph.variables("z", (2,))
    graph.factors("f", [z[0], z[1]], np.zeros((2, 2)))
    graph.save(tmp_path / "graph.npz")
    rewritten(tmp_path / "graph.npz", change)
    with pytest.raises(MalformedFileError, match=message):
        FactorGraph.load(tmp_path / "graph.npz")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(MalformedFileError, match="none.npz: the file cannot be read"):
        FactorGraph.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("MARKOV 0 0")
    with pytest.raises(MalformedFileError, match="text.npz: expected a factor graph as .npz"):
        FactorGraph.load(tmp_path / "text.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(MalformedFileError, match="expected a factor graph as .npz"):
        FactorGraph.load(tmp_path / "array.npy")
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as file:
        file.writestr("a.txt", "text")
    with pytest.raises(MalformedFileError, match="expected a factor graph as .npz"):
        FactorGraph.load(tmp_path / "zip.npz")
