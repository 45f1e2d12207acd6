"""Long format: rows of data that have a label each, as visits of persons, and the same data in wide format, by label.

Law: in wide format each row stands once, among those of its label in their order; what is not `seen` repeats a row of
the same label, so that it lies in every support.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lawful.errors import LawfulError

from .element_terms import groups_of


@dataclass(frozen=True, eq=False)
class Wide:
    """Data in wide format.

    Attributes:
        labels: of the groups, sorted.
        seen: which places are rows (groups, places).
        arrays: the data (groups, places, ...), in the order given.
        rows: which row each place is, or repeats (groups, places).
    """

    labels: np.ndarray
    seen: np.ndarray
    arrays: tuple[np.ndarray, ...]
    rows: np.ndarray


def wide(labels: Any, *arrays: Any) -> Wide:
    """Put rows of data side by side that have one label: groups of different sizes, padded to the largest.

    A program of wide data has the plate of the places in that of the groups, and masks by `seen` what it observes. What
    is latent in a group is then summed or integrated out group by group, in work that grows with the places, and
    `log_marginals` has a term for each group.

    Args:
        labels: of the rows (rows,).
        arrays: data (rows, ...).

    Raises: LawfulError where there is not one label for each row, or there is no row.

    >>> found = wide(["b", "a", "b"], [1.0, 2.0, 3.0])
    >>> found.labels.tolist(), found.arrays[0].tolist(), found.seen.tolist()
    (['a', 'b'], [[2.0, 2.0], [1.0, 3.0]], [[True, False], [True, True]])
    """
    data = [np.asarray(array) for array in arrays]
    count = np.shape(labels)[:1]
    names, index = groups_of(labels, count, "wide: labels")
    if not len(names) or any(array.shape[:1] != count for array in data):
        lengths = ", ".join(str(array.shape[:1]) for array in data)
        raise LawfulError(f"wide: expected some rows of data, as many as labels, {count}, got {lengths or 'none'}.")
    sizes = np.bincount(index)
    order, starts = np.argsort(index, kind="stable"), np.cumsum(sizes) - sizes
    place = np.arange(sizes.max())
    seen = place < sizes[:, None]
    rows = order[starts[:, None] + np.where(seen, place, 0)]
    return Wide(names, seen, tuple(array[rows] for array in data), rows)
