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
SAMPLED = 1000  # rows on which the recall is measured
WANTED = 0.93  # of it
LOST = 0.02  # of it by coarse codes, at most
MEASURED = 4  # times k candidates of the index, whose distances are measured
ASKED = 1 << 16  # rows at once


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


def approximate_nearest(points: np.ndarray, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, float]:
    """Find most of the k nearest of all rows, in an index of inverted lists (faiss).

    How many lists are looked at is learnt from a sample of rows whose nearest are known: as few as hold `WANTED` of
    these. In the lists are four bits of each column, and the nearest by them are measured again; where that loses
    neighbours, as it does where clusters have very different widths, in the lists are the rows themselves.

    Args:
        points: (n, d), float32.
        k: number of neighbours, less than n.
        seed: of the centres of the lists, and of the sample.

    Returns: as `exact_nearest`, -1 where fewer were found; and the recall, the share of the k nearest of the sampled
        rows that were found.

    Reference: Douze, Guzhva, Deng, Johnson and others (2024), The Faiss library; Andre, Kermarrec and Le Scouarnec
    (2015), Cache locality is not enough: high-performance nearest neighbor search with product quantization fast scan.
    """
    faiss = _faiss()
    n, d = points.shape
    lists = max(min(int(np.sqrt(n)), n // 40), 1)
    centres = faiss.IndexFlatL2(d)
    codes = faiss.IndexIVFPQFastScan(centres, d, lists, d, 4)
    codes.cp.seed, codes.cp.niter, codes.cp.max_points_per_centroid = seed, 8, 64
    index = faiss.IndexRefineFlat(codes)
    index.train(points)
    index.add(points)
    index.k_factor = MEASURED
    rows = np.sort(np.random.default_rng(seed).choice(n, min(SAMPLED, n), replace=False))
    truth = exact_nearest(points, k, rows)[0]
    order = centres.search(points[rows], lists)[1]
    holding = centres.search(points[truth.reshape(-1)], 1)[1].reshape(truth.shape)
    ranks = np.argmax(order[:, None, :] == holding[:, :, None], axis=2)
    codes.nprobe = looked_at = int(np.quantile(ranks, WANTED, method="higher")) + 1
    recall = _recall(truth, _searched(index, points, rows, k)[0])
    if recall < np.mean(ranks < looked_at) - LOST:
        index = faiss.IndexIVFFlat(centres, d, lists)
        index.train(points)
        index.add(points)
        index.nprobe = looked_at
        recall = _recall(truth, _searched(index, points, rows, k)[0])
    return *_searched(index, points, np.arange(n), k), recall


def _searched(index: Any, points: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Ask for some rows, a part at a time; the row itself is left out, and what was not found is -1."""
    nearest, apart = np.empty((len(rows), k), np.int64), np.empty((len(rows), k), np.float32)
    for start in range(0, len(rows), ASKED):
        part = slice(start, start + ASKED)
        squares, found = index.search(points[rows[part]], min(k + 1, len(points)))
        squares[(found == rows[part, None]) | (found < 0)] = np.inf
        order = np.argsort(squares, axis=1, kind="stable")[:, :k]
        apart[part] = np.take_along_axis(squares, order, axis=1)
        nearest[part] = np.where(np.isfinite(apart[part]), np.take_along_axis(found, order, axis=1), -1)
    return nearest, apart


def _recall(truth: np.ndarray, found: np.ndarray) -> float:
    """Give the share of true neighbours that were found."""
    return float(np.mean((truth[:, :, None] == found[:, None, :]).any(axis=2)))


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise LawfulError(
            "approximate neighbours need the library faiss. Fix: pip install 'lawful[llp]', or method='exact'."
        ) from error
    return faiss
