"""Members of bags with their features, some at a time, so that memory does not grow with rows or bags.

Law: every member of every bag is given once, in the order of the bags, and a bag is never in two runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from .bags import Bags

__all__ = ["ROWS", "Members", "few_bags", "members_of", "parts"]

ROWS = 1 << 14  # rows that are looked at at once

Members = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows, their bags from the first of a few on, their features


def few_bags(bags: Bags) -> Iterator[slice]:
    """Cut the bags into runs of about `ROWS` members, at least one bag each.

    >>> list(few_bags(Bags.from_ids([0, 1, 1])))
    [slice(0, 2, None)]
    """
    start = 0
    while start < bags.n_bags:
        stop = int(np.searchsorted(bags.offsets, bags.offsets[start] + ROWS, side="right")) - 1
        stop = max(stop, start + 1)
        yield slice(start, stop)
        start = stop


def members_of(
    features: Callable[[np.ndarray], np.ndarray], X: np.ndarray, bags: Bags, few: slice
) -> Callable[[], Iterable[Members]]:
    """Give the members of a few bags as often as wanted; those of one large bag are made each time, part by part.

    Args:
        features: from rows (m, d) to what is wanted of them (m, width).
        X: all rows (n, d).
        bags: all bags.
        few: which of them.

    >>> second = members_of(np.sqrt, np.array([[1.0], [2.0], [9.0]]), Bags.from_ids([1, 0, 1]), slice(1, 2))
    >>> [(rows.tolist(), owner.tolist(), roots.tolist()) for rows, owner, roots in second()]
    [([0, 2], [0, 0], [[1.0], [3.0]])]
    """
    first, last = int(bags.offsets[few.start]), int(bags.offsets[few.stop])

    def made() -> Iterator[Members]:
        for part in parts(last - first):
            rows = bags.members[first:last][part]
            yield rows, bags.owners[first:last][part] - few.start, features(X[rows])

    if last - first > ROWS:
        return made
    kept = list(made())
    return lambda: kept


def parts(length: int) -> Iterator[slice]:
    """Cut a number of rows into parts.

    >>> list(parts(3))
    [slice(0, 16384, None)]
    """
    return (slice(at, at + ROWS) for at in range(0, length, ROWS))
