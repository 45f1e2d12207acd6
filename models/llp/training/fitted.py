"""Fitted: what a learner of log odds gives.

Law: `decision_function` ranks rows; `logits` are log odds of a one, in the same order up to ties.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lawful.errors import ObservationError

from ..bags.bags import Bags

__all__ = ["Fitted", "check_rows"]


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
