"""The interface of methods: `fit(X, bags, seed=)` returns a `Fitted`, which scores rows.

Law: `decision_function` ranks rows; `logits` are log odds of a one, in the same order up to ties.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lawful.errors import ObservationError

from ..bags.bags import Bags

__all__ = ["Fitted", "Method", "check_rows", "singletons"]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted method.

    Attributes:
        decision_function: from rows (n, d) to scores (n,) that rank them.
        logits: from rows to log odds (n,); for a net the same function.
        details: what the method tells of its fit, by name.
    """

    decision_function: Callable[[np.ndarray], np.ndarray]
    logits: Callable[[np.ndarray], np.ndarray]
    details: Mapping[str, Any] = field(default_factory=dict)


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


def check_rows(X: np.ndarray, bags: Bags, method: str) -> np.ndarray:
    """Refuse rows that are not those of the bags, or not finite."""
    X = np.asarray(X)
    if X.ndim != 2 or len(X) != bags.n_rows:
        raise ObservationError(
            f"{method}: X of shape {X.shape} and bags of {bags.n_rows} rows. Fix: give the rows of the bags (n, d)."
        )
    if not np.isfinite(X).all():
        row, column = np.argwhere(~np.isfinite(X))[0].tolist()
        raise ObservationError(
            f"{method}: X has {X[row, column]} in row {row}, column {column}. Fix: give finite numbers."
        )
    return X
