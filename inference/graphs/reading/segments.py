"""Segments: which elements of an update land on which element of the array that a scatter adds them to.

Law: the result at an element is the sum of the updates that land there; the rows of a place list these, padded by
updates that do not count.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np


def landing(numbers: Any, index: Any, shape: tuple[int, ...], updates: tuple[int, ...]) -> Any:
    """Give the place of each element of the updates in the result, in row-major order; None where it is not plain.

    Args:
        numbers: which axes the index counts along.
        index: where the updates go.
        shape: of the result.
        updates: shape of the updates.
    """
    if isinstance(index, jax.core.Tracer) or numbers.operand_batching_dims:
        return None
    window = list(numbers.update_window_dims)
    batch = [d for d in range(len(updates)) if d not in window]
    grid = np.indices(updates).reshape((len(updates), -1))
    starts = np.asarray(index)[tuple(grid[d] for d in batch)]  # (elements, index length)
    places = np.zeros((len(shape), grid.shape[1]), np.int64)
    within = [d for d in range(len(shape)) if d not in numbers.inserted_window_dims]
    for axis, d in zip(within, window, strict=True):
        places[axis] = grid[d]
    for k, axis in enumerate(numbers.scatter_dims_to_operand_dims):
        places[axis] += starts[:, k]
    limits = np.array(shape)[:, None]
    if np.any((places < 0) | (places >= limits)):
        return None
    return np.ravel_multi_index(tuple(places), shape) if shape else np.zeros(grid.shape[1], np.int64)


def rows_of(lands: np.ndarray, size: int) -> np.ndarray:
    """List the updates of each place (size, most); those beyond repeat its first one, or the first of all.

    >>> rows_of(np.array([1, 1, 0]), 2).tolist()
    [[2, 2], [0, 1]]
    """
    order, sizes, starts = _sorted(lands, size)
    most = int(sizes.max(initial=0))
    inside = np.arange(most)[None] < sizes[:, None]
    where = np.where(inside, starts[:, None] + np.arange(most)[None], np.where(sizes > 0, starts, 0)[:, None])
    return order[where] if math.prod(where.shape) else np.zeros(where.shape, np.int64)


def counted_rows(lands: np.ndarray, size: int) -> np.ndarray:
    """Tell which of the rows of `rows_of` count (size, most)."""
    _, sizes, _ = _sorted(lands, size)
    return np.arange(int(sizes.max(initial=0)))[None] < sizes[:, None]


def _sorted(lands: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order, sizes = np.argsort(lands, kind="stable"), np.bincount(lands, minlength=size)
    return order, sizes, np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
