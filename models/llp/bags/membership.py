"""Membership: which rows are in which bag, of numbers of bags or a matrix, as rows of all bags one behind the other.

Law: bag b has the rows `members[offsets[b]:offsets[b + 1]]`, ascending; both ways to say the same give the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, issparse

from lawful.errors import IndexRangeError, ObservationError

__all__ = ["members_by_ids", "members_by_matrix", "number_of_bags"]


def members_by_ids(ids: Any, n_bags: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Put each row into the bag of its number, or into none: `offsets` (n_b + 1,) and `members` (M,).

    Args:
        ids: number of the bag of each row, from 0, or -1 for a row in no bag (n,).
        n_bags: number of bags; by default as many as there are numbers.

    Raises: ObservationError for ids that are no whole numbers; IndexRangeError for a number of no bag.

    >>> [each.tolist() for each in members_by_ids([0, 1, 0, -1])]
    [[0, 2, 3], [0, 2, 1]]
    """
    ids = np.asarray(ids)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise ObservationError(
            f"bags: ids are {ids.dtype} of shape {ids.shape}, expected whole numbers (n,), one a row. "
            "Fix: number the bags from 0 in the order of the counts, and give -1 to rows in no bag; "
            "np.unique(names, return_inverse=True)[1] numbers names in their order."
        )
    ids = ids.astype(np.int64)
    if np.any(ids < -1):
        row = int(np.flatnonzero(ids < -1)[0])
        raise IndexRangeError(f"bags: row {row} is in bag {ids[row]}. Fix: number bags from 0; -1 is for no bag.")
    size = int(ids.max(initial=-1)) + 1 if n_bags is None else n_bags
    if ids.max(initial=-1) >= size:
        row = int(np.flatnonzero(ids >= size)[0])
        raise IndexRangeError(
            f"bags: row {row} is in bag {ids[row]}, and counts were given for {size} bags, 0 to {size - 1}. "
            "Fix: give a count for every bag, NaN where it is not known."
        )
    order = np.argsort(ids, kind="stable")
    members = order[np.searchsorted(ids[order], 0) :]
    return np.concatenate([[0], np.cumsum(np.bincount(ids[members], minlength=size))]).astype(np.int64), members


def members_by_matrix(membership: Any) -> tuple[int, np.ndarray, np.ndarray]:
    """Put rows into bags by a matrix of zeros and ones (n_b, n): the number of rows, `offsets` and `members`.

    Args:
        membership: a sparse matrix of SciPy, or an array.

    Raises: ObservationError for other entries, or another number of axes.

    >>> n_rows, offsets, members = members_by_matrix([[1, 1, 0], [0, 1, 1]])
    >>> n_rows, offsets.tolist(), members.tolist()
    (3, [0, 2, 4], [0, 1, 1, 2])
    """
    given = membership if issparse(membership) else np.asarray(membership)
    if given.ndim != 2:
        raise ObservationError(f"bags: a membership of shape {given.shape}, expected bags by rows (n_b, n).")
    matrix = csr_matrix(given)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.sort_indices()
    if np.any(matrix.data != 1):
        bag = int(np.searchsorted(matrix.indptr, np.flatnonzero(matrix.data != 1)[0], side="right")) - 1
        raise ObservationError(
            f"bags: the membership of bag {bag} has an entry {matrix.data[matrix.data != 1][0]}, expected zeros "
            "and ones. Fix: name each member of a bag once, with a one."
        )
    return int(matrix.shape[1]), matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)


def number_of_bags(counts: Any, proportions: Any, stated: int | None = None) -> int | None:
    """Find how many bags there are, from what was given; None where nothing says it.

    Raises: ObservationError where both were given, or one that is not one a bag.

    >>> number_of_bags([1, 2, 0], None), number_of_bags(None, None, 4)
    (3, 4)
    """
    if counts is not None and proportions is not None:
        raise ObservationError("bags: counts and proportions were given. Fix: give one of them.")
    given = counts if counts is not None else proportions
    if given is None:
        return stated
    size = len(np.asarray(given)) if np.ndim(given) else -1
    if size < 0 or (stated is not None and size != stated):
        wanted = "one a bag" if stated is None else f"expected {stated}, one a bag"
        raise ObservationError(
            f"bags: counts or proportions of shape {np.shape(given)}, {wanted}. Fix: give one for every bag, in the "
            "order of their numbers."
        )
    return size
