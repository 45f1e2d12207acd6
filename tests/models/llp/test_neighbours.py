"""The graph of neighbours holds the nearest of all distances, each pair once, whatever the data."""

import tracemalloc

import numpy as np
import pytest

from lawful.errors import LawfulError, NonFiniteError, ObservationError
from lawful.models.llp import knn_graph
from lawful.models.llp.neighbours.nearest import approximate_nearest, exact_nearest


def brute_force(X, k):
    """Nearest rows by all differences, ties by number."""
    squares = ((X[:, None].astype(float) - X[None].astype(float)) ** 2).sum(axis=2)
    np.fill_diagonal(squares, np.inf)
    order = np.argsort(squares, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(squares, order, axis=1)


def pairs_of(nearest):
    return sorted({(min(i, int(j)), max(i, int(j))) for i, own in enumerate(nearest) for j in own})


@pytest.mark.parametrize(("n", "d", "shift"), [(2, 1, 0.0), (50, 3, 0.0), (300, 20, 100.0), (70, 1, 0.0)])
def test_l13_the_exact_graph_is_that_of_all_distances(n, d, shift):
    X = (np.random.default_rng(n).normal(size=(n, d)) + shift).astype(np.float32)
    k = min(5, n - 1)
    truth, squares = brute_force(X, k)
    nearest, found = exact_nearest(X, k)
    np.testing.assert_array_equal(nearest, truth)
    np.testing.assert_allclose(found, squares, rtol=1e-5)
    some = np.array([0, n - 1])
    np.testing.assert_array_equal(exact_nearest(X, k, some)[0], truth[some])
    graph = knn_graph(X, 5, most=n)
    assert graph.edges.tolist() == [list(p) for p in pairs_of(truth)] and graph.recall == 1.0
    apart = np.linalg.norm(X[graph.edges[:, 0]].astype(float) - X[graph.edges[:, 1]], axis=1)
    np.testing.assert_allclose(graph.distances, apart, rtol=1e-5)


def test_l13_pairs_are_once_without_loops_and_the_same_every_time():
    X = np.random.default_rng(0).integers(0, 3, (400, 4)).astype(np.float32)  # many rows are equal
    graph, again = knn_graph(X, 3), knn_graph(X.copy(), 3)
    assert np.all(graph.edges[:, 0] < graph.edges[:, 1])
    assert len(np.unique(graph.edges, axis=0)) == len(graph.edges)
    np.testing.assert_array_equal(graph.edges, again.edges)
    assert graph.degrees.sum() == 2 * len(graph.edges)


def test_l13_equal_rows_are_neighbours_at_distance_zero():
    X = np.random.default_rng(1).normal(size=(60, 5)).astype(np.float32)
    X[[10, 40]] = X[3]
    graph = knn_graph(X, 2)
    place = {tuple(e): d for e, d in zip(graph.edges.tolist(), graph.distances, strict=True)}
    assert [place[p] for p in ((3, 10), (3, 40), (10, 40))] == [0, 0, 0]


def test_l13_memory_does_not_grow_with_the_square_of_the_rows():
    """All distances of 200 of a million rows would be 0.8 GB, beside what is made of them."""
    X = np.random.default_rng(3).normal(size=(1_000_000, 2)).astype(np.float32)
    tracemalloc.start()
    nearest, _ = exact_nearest(X, 5, np.arange(200))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert nearest.shape == (200, 5) and peak < 300e6


@pytest.mark.slow
def test_l13_memory_of_a_graph_grows_no_faster_than_the_rows():
    """Beside a block of distances, of one size for all; all distances of the larger would be 40 GB."""
    pytest.importorskip("faiss")
    peaks = []
    for rows in (25_000, 100_000):
        X = np.random.default_rng(6).normal(size=(rows, 8)).astype(np.float32)
        tracemalloc.start()
        graph = knn_graph(X, 5, method="approximate")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert graph.recall >= 0.9
    assert peaks[1] < 500e6 and peaks[1] - peaks[0] < 1000 * 75_000


def test_the_cosine_graph_does_not_see_lengths_and_bears_rows_of_zeros():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(80, 4)).astype(np.float32)
    X[7] = 0
    scaled = X * rng.uniform(0.1, 10, (80, 1)).astype(np.float32)
    graph, other = knn_graph(X, 3, "cosine"), knn_graph(scaled, 3, "cosine")
    others = [e[(e != 7).all(axis=1)] for e in (graph.edges, other.edges)]  # all are as far from the row of zeros
    np.testing.assert_array_equal(*others)
    a, b = X[graph.edges[:, 0]], X[graph.edges[:, 1]]
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = np.where(lengths > 0, (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1), 0.5)
    np.testing.assert_allclose(graph.distances, 1 - cosine, atol=1e-5)


def test_a_hub_keeps_its_nearest():
    X = np.concatenate([np.zeros((1, 40)), np.eye(40)]).astype(np.float32)
    X[1:] *= np.linspace(1.0, 1.3, 40, dtype=np.float32)[:, None]
    assert knn_graph(X, 1, most=100).degrees[0] == 40  # all are nearest to the middle
    capped = knn_graph(X, 1, most=6)
    assert capped.degrees.max() == 6 and capped.edges.tolist() == [[0, j] for j in range(1, 7)]


def test_principal_components_keep_what_varies():
    rng = np.random.default_rng(4)
    flat = rng.normal(size=(100, 2)) @ rng.normal(size=(2, 30))
    X = flat.astype(np.float32)
    np.testing.assert_array_equal(knn_graph(X, 4, components=2).edges, knn_graph(X, 4).edges)


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [False, True])
def test_l13_the_index_finds_as_many_as_are_wanted_and_says_how_many(clusters):
    pytest.importorskip("faiss")
    rng = np.random.default_rng(5)
    X = rng.normal(size=(4000, 24)).astype(np.float32)  # a few lists would find a third of the neighbours in one cloud
    if clusters:
        X = 0.1 * X + 5 * rng.normal(size=(30, 24)).astype(np.float32)[rng.integers(0, 30, 4000)]
    X[100] = X[50]
    graph = knn_graph(X, 5, method="approximate")
    again = knn_graph(X, 5, method="approximate")
    np.testing.assert_array_equal(graph.edges, again.edges)
    truth, found = exact_nearest(X, 5)[0], approximate_nearest(X, 5)[0]
    shared = np.mean([len(np.intersect1d(a, b)) for a, b in zip(truth, found, strict=True)]) / 5
    assert shared >= 0.9 and abs(graph.recall - shared) < 0.03
    assert np.all(found != np.arange(4000)[:, None]) and [50, 100] in graph.edges.tolist()


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(LawfulError, match=r"lawful\[llp\]"):
        knn_graph(np.zeros((9, 2)), 1, method="approximate")


def test_what_does_not_fit_is_refused():
    with pytest.raises(ObservationError, match="expected numbers"):
        knn_graph(np.zeros(3))
    with pytest.raises(NonFiniteError, match="row 1"):
        knn_graph(np.array([[0.0], [np.nan]]))
    for settings in ({"metric": "city block"}, {"method": "fast"}, {"k": 0}, {"most": 0}):
        with pytest.raises(LawfulError):
            knn_graph(np.zeros((3, 1)), **settings)
    assert len(knn_graph(np.zeros((1, 2))).edges) == 0
