"""The k nearest rows of each row, by Euclidean distance, of all rows or by an index.

Law: `exact_nearest` gives the smallest distances of all, itself left out, ties by the number of the row. It compares
blocks of rows with all by a matrix product in single precision, keeps a few more than k, and measures these again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lawful.errors import LawfulError

__all__ = ["approximate_nearest", "exact_nearest"]

BLOCK = 1 << 25  # products at once
SPARE = 8  # candidates beyond k, whose distances are measured again
LISTS = 4096  # of the index, at most
LOOKED_AT = 48


def exact_nearest(points: np.ndarray, k: int, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest of some rows, by default of all.

    Args:
        points: (n, d), float32.
        k: number of neighbours, less than n.
        rows: the rows that ask (m,).

    Returns: their neighbours (m, k), nearest first, and the squared distances (m, k).

    >>> exact_nearest(np.array([[0.0], [2.0], [3.0]], np.float32), 1)[0].tolist()
    [[1], [2], [1]]
    """
    asking = np.arange(len(points)) if rows is None else rows
    wanted = min(k + 1 + SPARE, len(points))
    centred = points - points.mean(axis=0)  # distances stay, and their rounding errors shrink
    halves = 0.5 * np.einsum("ij,ij->i", centred, centred)
    groups = max(int(np.ceil(len(points) / 64)), 1)
    filled = np.full(groups * 64, np.inf, np.float32)
    once = max(BLOCK // (groups * 64), 1)
    turned = np.ascontiguousarray(centred.T)
    found, squares = np.empty((len(asking), k), np.int64), np.empty((len(asking), k), np.float32)
    scores = np.empty((once, groups * 64), np.float32)
    for start in range(0, len(asking), once):
        own = asking[start : start + once]
        block = scores[: len(own)]
        np.matmul(centred[own], turned, out=block[:, : len(points)])
        block[:, : len(points)] -= halves
        block[:, len(points) :] = -filled[len(points) :]
        places = _largest(block, groups, wanted)
        found[start : start + once], squares[start : start + once] = _measured(points, own, places, k)
    return found, squares


def _largest(scores: np.ndarray, groups: int, wanted: int) -> np.ndarray:
    """Find where the largest entries of each row are: each is in a group among those with the largest maxima."""
    split = scores.reshape(len(scores), 64, groups)
    maxima = split.max(axis=1)
    fewer = min(wanted, groups)
    chosen = np.argpartition(-maxima, fewer - 1, axis=1)[:, :fewer] if fewer < groups else np.arange(groups)[None]
    places = (np.arange(64)[None, :, None] * groups + chosen[:, None, :]).reshape(len(chosen), -1)
    places = np.broadcast_to(places, (len(scores), places.shape[1]))
    values = np.take_along_axis(scores, places, axis=1)
    best = np.argpartition(-values, wanted - 1, axis=1)[:, :wanted]
    return np.take_along_axis(places, best, axis=1)


def _measured(points: np.ndarray, rows: np.ndarray, places: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Measure candidates by their differences, and keep the k nearest."""
    inside = np.minimum(places, len(points) - 1)
    apart = points[rows][:, None, :] - points[inside]
    squares = np.einsum("ijk,ijk->ij", apart, apart)
    squares[(places >= len(points)) | (places == rows[:, None])] = np.inf
    order = np.lexsort((places, squares), axis=1)[:, :k]
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(squares, order, axis=1)


def approximate_nearest(points: np.ndarray, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Find most of the k nearest of all rows, in an index of inverted lists (faiss).

    Args:
        points: (n, d), float32.
        k: number of neighbours, less than n.
        seed: of the centres of the lists.

    Returns: as `exact_nearest`; -1 where fewer were found.

    Reference: Douze, Guzhva, Deng, Johnson and others (2024), The Faiss library.
    """
    faiss = _faiss()
    n, d = points.shape
    lists = int(np.clip(4 * np.sqrt(n), 1, min(LISTS, max(n // 40, 1))))
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(d), d, lists, faiss.METRIC_L2)
    index.cp.seed, index.cp.niter = seed, 8
    index.train(points)
    index.add(points)
    index.nprobe = min(LOOKED_AT, lists)
    squares, found = index.search(points, min(k + 1 + SPARE, n))
    squares[(found == np.arange(n)[:, None]) | (found < 0)] = np.inf
    order = np.argsort(squares, axis=1, kind="stable")[:, :k]
    squares, found = np.take_along_axis(squares, order, axis=1), np.take_along_axis(found, order, axis=1)
    return np.where(np.isfinite(squares), found, -1), squares


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise LawfulError(
            "approximate neighbours need the library faiss. Fix: pip install 'lawful[llp]', or method='exact'."
        ) from error
    return faiss
