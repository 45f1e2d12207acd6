"""Covariates: columns on one scale, from the statistics of the rows in bags alone.

Law: a column of zeros and ones stays as it is; any other is standardised and kept within -8..8; one without variation
becomes zero. New rows go through the same map, so nothing of them is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Scaling", "scaling_of"]

CLIP = 8.0


@dataclass(frozen=True, eq=False)
class Scaling:
    """The map of each column to (x - shift) / scale within -8..8."""

    shift: np.ndarray
    scale: np.ndarray

    def __call__(self, X: Any) -> np.ndarray:
        """Map rows (n, d) to float32."""
        return np.clip((np.asarray(X, float) - self.shift) / self.scale, -CLIP, CLIP).astype(np.float32)


def scaling_of(X: Any) -> Scaling:
    """Read shifts and scales off rows (n, d).

    >>> scaling_of([[0, 10.0, 3.0], [1, 30.0, 3.0]])([[1, 20.0, 4.0]]).tolist()
    [[1.0, 0.0, 0.0]]
    """
    X = np.asarray(X, float)
    binary = np.all((X == 0) | (X == 1), axis=0)
    sd = X.std(axis=0)
    flat = sd <= 1e-7 * np.maximum(np.abs(X).max(axis=0, initial=0), 1e-300)
    return Scaling(np.where(binary, 0.0, X.mean(axis=0)), np.where(binary, 1.0, np.where(flat, np.inf, sd)))
