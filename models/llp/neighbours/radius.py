"""The spectral radius of gains on the paths of a graph that do not turn back.

Law: it is the largest eigenvalue of A_{(i -> j), (k -> i)} = N_ki for k other than j: how much a small change of
messages grows with a step, in the long run. It is 0 on a forest, and 1 on a ring of gains 1.

Reference: Hashimoto (1989), Zeta functions of finite graphs and representations of p-adic groups; Bass (1992), The
Ihara-Selberg zeta function of a tree lattice, for the recursion on vertices.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import eigsh
from threadpoolctl import threadpool_limits

from lawful.errors import LawfulError

__all__ = ["spectral_radius"]

STEPS, WINDOW, NEAR = 600, 12, 1e-5
TURNS, ENDED = 20, 1e-3  # of the equation for gains 1; each turn leaves a hundredth of the error
KRYLOV = 10  # vectors that are kept
CLOSE = (1e-2, 1e-3, 3e-5)  # of the first turns, and of all from the third on


def spectral_radius(edges: np.ndarray, n_rows: int, gains: np.ndarray | None = None) -> float:
    """Give the spectral radius.

    Args:
        edges: pairs of rows (E, 2), each pair once.
        n_rows: number of rows.
        gains: of the edges, the same both ways (E,); None for ones, which is faster.

    Raises: LawfulError for an edge from a row to itself, or for gains that are negative or do not fit.

    >>> complete = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])  # each step has two ways on
    >>> round(spectral_radius(complete, 4), 4)
    2.0
    """
    edges = np.asarray(edges)
    if len(edges) and np.any(edges[:, 0] == edges[:, 1]):
        raise LawfulError("spectral_radius: an edge leads from a row to itself. Fix: leave such edges out.")
    if gains is not None and (np.shape(gains) != (len(edges),) or not np.all(np.asarray(gains) >= 0)):
        raise LawfulError(f"spectral_radius: gains of shape {np.shape(gains)}, expected {len(edges)} numbers >= 0.")
    kept = _on_cycles(edges, n_rows)
    if not kept.any():
        return 0.0
    if gains is None:
        return _of_ones(edges[kept], n_rows)
    return _growth(_by_edges(edges[kept], n_rows, np.asarray(gains, float)[kept]))


def _on_cycles(edges: np.ndarray, n_rows: int) -> np.ndarray:
    """Mark the edges that are left when rows with one edge are taken away again and again: no path ends in them."""
    kept = np.ones(len(edges), bool)
    degree = np.bincount(edges.reshape(-1), minlength=n_rows)
    while True:
        ends = kept & ((degree[edges[:, 0]] == 1) | (degree[edges[:, 1]] == 1))
        if not ends.any():
            return kept
        kept &= ~ends
        degree -= np.bincount(edges[ends].reshape(-1), minlength=n_rows)


def _growth(step: Callable[[], float]) -> float:
    """Give the growth in the long run: the mean over the later half of the steps, as on some graphs it takes turns."""
    logs: list[float] = []
    before = np.inf
    for number in range(1, STEPS + 1):
        grown = step()
        if grown == 0:
            return 0.0
        logs.append(float(np.log(grown)))
        if number % WINDOW == 0:
            now = float(np.mean(logs[number // 2 :]))
            if abs(now - before) < NEAR:
                break
            before = now
    return float(np.exp(before))


def _of_ones(edges: np.ndarray, n_rows: int) -> float:
    """Solve Bass's equation with gains 1: the largest x at which x^2 + D - 1 - x A is singular.

    With m the largest eigenvalue of A between the roots of W = x^2 + D - 1, that is x m = 1. On a graph of one degree d
    m is d / (x^2 + d - 1), and x is d - 1; elsewhere the degree that m stands for gives the next x.
    """
    both = np.concatenate([edges, edges[:, ::-1]])
    ones = np.ones(len(both), np.float32)
    adjacency = csr_matrix((ones, (both[:, 0], both[:, 1])), shape=(n_rows, n_rows))
    degree = np.bincount(edges.reshape(-1), minlength=n_rows).astype(np.float32)
    live = degree > 0
    found = float(degree @ degree / degree.sum()) - 1
    if found <= 1 + 1e-6:
        return 1.0  # rings alone
    vector = None
    for turn in range(TURNS):
        root = np.where(live, 1 / np.sqrt(found**2 + np.maximum(degree, 1) - 1), 0).astype(np.float32)
        even = np.where(live, 1 / np.maximum(root, 1e-30), 0).astype(np.float32)
        even /= np.linalg.norm(even)
        # From the last vector, with a part in every component, as the largest eigenvalue may pass to another one.
        start = even if vector is None else np.abs(vector) + np.float32(0.1) * even
        m, vector = _largest(adjacency, root, start, CLOSE[min(turn, 2)])
        before, found = found, m * (found**2 - 1) / (1 - m) - 1
        if turn >= 2 and abs(found - before) < ENDED * found:
            break
    return found


def _largest(adjacency: csr_matrix, root: np.ndarray, start: np.ndarray, near: float) -> tuple[float, np.ndarray]:
    """Give the largest eigenvalue and its vector of a symmetric matrix without negative entries between two roots.

    On one thread: those of BLAS wait for each other on vectors, where others compute too, and gain nothing.
    """
    scaled = np.repeat(root, np.diff(adjacency.indptr)) * root[adjacency.indices]
    between = csr_matrix((scaled, adjacency.indices, adjacency.indptr), shape=adjacency.shape)
    with threadpool_limits(1, "blas"):
        value, vector = eigsh(between, 1, which="LA", v0=start, tol=near, ncv=min(KRYLOV, len(root)))
    return float(value[0]), vector[:, 0]


def _by_edges(edges: np.ndarray, n_rows: int, gains: np.ndarray) -> Callable[[], float]:
    """Step with any gains, one number for each edge and direction."""
    source, target = edges.T
    forth, back = np.ones(len(edges)), np.ones(len(edges))

    def step() -> float:
        nonlocal forth, back
        sent, returned = gains * forth, gains * back
        arriving = np.bincount(target, sent, n_rows) + np.bincount(source, returned, n_rows)
        total = forth.sum() + back.sum()
        forth, back = np.maximum(arriving[source] - returned, 0), np.maximum(arriving[target] - sent, 0)
        grown = float((forth.sum() + back.sum()) / total)
        if grown > 0:
            scale = forth.sum() + back.sum()
            forth, back = forth / scale, back / scale
        return grown

    return step
