"""The interface of methods: `fit(X, bags, seed=)` returns a `Fitted`, which scores rows.

Law: equal rows, bags and seeds give equal fits.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from lawful.models.llp import Bags
from lawful.models.llp.training.fitted import Fitted

__all__ = ["Method", "singletons"]


@runtime_checkable
class Method(Protocol):
    """A way to learn a classifier of rows from counts of bags."""

    def fit(self, X: np.ndarray, bags: Bags, *, seed: int = 0) -> Fitted:
        """Fit to rows (n, d) and what is known of their bags."""


def singletons(y: np.ndarray, n_rows: int | None = None) -> Bags:
    """Make a bag of one of each labelled row: the first rows, where fewer labels than rows are given.

    >>> singletons(np.array([1, 0]), n_rows=3).ids.tolist()
    [0, 1, -1]
    """
    n_rows = len(y) if n_rows is None else n_rows
    ids = np.where(np.arange(n_rows) < len(y), np.arange(n_rows), -1)
    return Bags.from_ids(ids, counts=np.asarray(y))
