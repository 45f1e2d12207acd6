"""Neighbours: pairs of rows of which one is among the k nearest of the other.

Law: the pairs are symmetric, each once, and none joins a row to itself; rows with equal covariates are neighbours at
distance zero. Of the exact methods the k nearest are those of all distances, ties by the number of the row; of the
approximate one a measured share of them, the recall.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lawful.errors import LawfulError, NonFiniteError, ObservationError

from .nearest import approximate_nearest, exact_nearest

__all__ = ["Neighbours", "knn_graph"]

METRICS = ("euclidean", "cosine")
EXACT_UP_TO = 5_000_000  # numbers in the covariates, n d


@dataclass(frozen=True, eq=False)
class Neighbours:
    """A graph of neighbours.

    Attributes:
        n_rows: number of rows.
        edges: pairs of rows, the smaller number first, in ascending order (E, 2).
        distances: of the pairs (E,).
        recall: share of the k nearest that were found: 1 where all distances were looked at, else measured on a sample.
        metric: "euclidean" or "cosine".

    >>> knn_graph(np.array([[0.0], [1.0], [5.0], [5.5]]), k=1)
    Neighbours(4 rows, 2 pairs, mean degree 1, euclidean, recall 1)
    """

    n_rows: int
    edges: np.ndarray
    distances: np.ndarray
    recall: float
    metric: str

    @property
    def degrees(self) -> np.ndarray:
        """Number of neighbours of each row (n,)."""
        return np.bincount(self.edges.reshape(-1), minlength=self.n_rows)

    def __repr__(self) -> str:
        """Say how many, and how they were found."""
        mean = 2 * len(self.edges) / max(self.n_rows, 1)
        return (
            f"Neighbours({self.n_rows} rows, {len(self.edges)} pairs, mean degree {mean:.3g}, {self.metric}, "
            f"recall {self.recall:.3g})"
        )


def knn_graph(
    X: Any,
    k: int = 5,
    metric: str = "euclidean",
    method: str = "auto",
    *,
    most: int | None = None,
    components: int | None = None,
    seed: int = 0,
) -> Neighbours:
    """Find the nearest neighbours of all rows.

    Args:
        X: covariates (n, d).
        k: number of neighbours that a row asks for; others may ask for it as well.
        metric: "euclidean", or "cosine": one less the cosine, by which a row of zeros is 1 from every other.
        method: "exact" compares all pairs of rows; "approximate" needs the extra `llp`; "auto" is exact up to
            5,000,000 numbers in X.
        most: largest number of neighbours of a row, the nearest stay; default 4 k.
        components: number of principal components to which X is reduced first; None for all columns.
        seed: of the approximate method, and of the rows on which its recall is measured.

    Raises: ObservationError for covariates that are no matrix, NonFiniteError for NaN in them, LawfulError for settings
        out of range.

    >>> knn_graph(np.array([[0.0], [1.0], [5.0], [5.5]]), k=1).edges.tolist()
    [[0, 1], [2, 3]]
    """
    X = _covariates(X)
    if metric not in METRICS or method not in ("auto", "exact", "approximate"):
        raise LawfulError(f"knn_graph: metric={metric!r}, method={method!r}. Fix: metric is one of {METRICS}; "
                          "method is 'auto', 'exact' or 'approximate'.")  # fmt: skip
    most = 4 * k if most is None else most
    if k < 1 or most < 1:
        raise LawfulError(f"knn_graph: k={k!r}, most={most!r}. Fix: give 1 or more.")
    k = min(k, len(X) - 1)
    if k < 1:
        return Neighbours(len(X), np.zeros((0, 2), np.int32), np.zeros(0, np.float32), 1.0, metric)
    points = principal(X, components) if components is not None and components < X.shape[1] else X
    if metric == "cosine":
        lengths = np.linalg.norm(points, axis=1, keepdims=True)
        points = points / np.where(lengths > 0, lengths, 1)
    exact = method == "exact" or (method == "auto" and points.size <= EXACT_UP_TO)
    recall = 1.0
    if exact:
        nearest, squares = exact_nearest(points, k)
    else:
        nearest, squares, recall = approximate_nearest(points, k, seed)
    edges, squares = _pairs(nearest, squares, len(X))
    kept = _capped(edges, squares, len(X), most)
    edges, squares = edges[kept], squares[kept]
    distances = squares / 2 if metric == "cosine" else np.sqrt(squares)
    return Neighbours(len(X), edges, distances.astype(np.float32), recall, metric)


def principal(X: np.ndarray, components: int) -> np.ndarray:
    """Project on the leading principal components (n, d) -> (n, components).

    >>> principal(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.1]], np.float32), 1).shape
    (3, 1)
    """
    centred = X - X.mean(axis=0, dtype=np.float64).astype(X.dtype)
    _, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    return centred @ vectors[:, : -components - 1 : -1].astype(X.dtype)


def _covariates(X: Any) -> np.ndarray:
    found = np.asarray(X)
    if found.ndim != 2 or found.dtype.kind not in "biuf":
        raise ObservationError(
            f"knn_graph: covariates are {found.dtype} of shape {found.shape}, expected numbers (n, d)."
        )
    found = np.ascontiguousarray(found, np.float32)
    wrong = ~np.isfinite(found).all(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise NonFiniteError(
            f"knn_graph: row {row} has covariates that are NaN or infinite. Fix: fill them in.", row=row
        )
    return found


def _pairs(nearest: np.ndarray, squares: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Give each pair once, in ascending order; -1 stands for a neighbour that was not found."""
    asks = np.repeat(np.arange(n), nearest.shape[1])
    given = nearest.reshape(-1)
    real = (given >= 0) & (given != asks)
    first, second = np.minimum(asks, given)[real], np.maximum(asks, given)[real]
    keys, places = np.unique(first * n + second, return_index=True)
    return np.stack([keys // n, keys % n], axis=1).astype(np.int32), squares.reshape(-1)[real][places]


def _capped(edges: np.ndarray, squares: np.ndarray, n: int, most: int) -> np.ndarray:
    """Mark the pairs that are among the nearest `most` of both rows: hubs would set the strength for all."""
    kept = np.ones(len(edges), bool)
    if np.bincount(edges.reshape(-1), minlength=n).max(initial=0) <= most:
        return kept
    both = edges.T.reshape(-1)
    order = np.lexsort((np.tile(squares, 2), both))
    starts = np.searchsorted(both[order], np.arange(n))
    ranks = np.empty(len(both), np.int64)
    ranks[order] = np.arange(len(both)) - starts[both[order]]
    return (ranks < most).reshape(2, -1).all(axis=0)
