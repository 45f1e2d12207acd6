"""Padding: bags of members, one behind the other, as rows of one array that are filled up to the largest.

Law: every member of a bag has one place in its row, in the order of the members. Bags share an array where their sizes
are within a factor of two, or where few places are filled up: each shape of arrays is something to compile.
"""

from __future__ import annotations

import numpy as np

FILLED_UP_TO = 1 << 13  # places that save an array of another shape


def alike(sizes: np.ndarray) -> list[np.ndarray]:
    """Put bags together, by number, that share an array; the largest first, ascending in each.

    Smaller bags join the next larger ones where that fills up few places.

    >>> [bags.tolist() for bags in alike(np.array([3, 4000, 9000, 4000]))]
    [[2], [0, 1, 3]]
    """
    kinds = np.ceil(np.log2(np.maximum(sizes, 1))).astype(int)
    found: list[np.ndarray] = []
    for kind in np.unique(kinds)[::-1]:
        own = np.flatnonzero(kinds == kind)
        if found and np.sum(sizes[found[-1]].max() - sizes[own]) <= FILLED_UP_TO:
            found[-1] = np.sort(np.concatenate([found[-1], own]))
        else:
            found.append(own)
    return found


def padded(starts: np.ndarray, bags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give bags as rows.

    Args:
        starts: where each of all bags begins among the members, and the end of the last one.
        bags: the bags, by number (G,).

    Returns: their members, by their places among those of all bags (M,); and for each place of a row its member by its
        number among these, M for none (G, B), B the size of the largest.

    >>> padded(np.array([0, 2, 2, 3]), np.array([2, 0]))
    (array([2, 0, 1]), array([[0, 3],
           [1, 2]]))
    """
    sizes = (starts[1:] - starts[:-1])[bags]
    inside = np.arange(sizes.max(initial=0))[None] < sizes[:, None]
    rows = np.full(inside.shape, sizes.sum())
    rows[inside] = np.arange(sizes.sum())
    return (starts[:-1][bags][:, None] + np.arange(inside.shape[1])[None])[inside], rows
