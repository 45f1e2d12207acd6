"""particles (Chopin) on W2 as its documentation writes a model: `logpyt` is the log likelihood of one datum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.contestants.w2.particles import DTYPE, PACKAGES, Logistic, runner, ssps

__all__ = ["DTYPE", "PACKAGES", "build"]


class ByDatum(Logistic):
    """The model of W2, its likelihood summed over the data by the package."""

    loglik = ssps.StaticModel.loglik

    def logpyt(self, theta: Any, t: int) -> np.ndarray:
        """Log likelihood of datum t for each particle."""
        return -np.logaddexp(0.0, theta["b"] @ self.signed[:, t])


def build(settings: dict[str, Any]) -> Callable[[int], dict[str, float]]:
    """The contestant for one variant."""
    return runner(ByDatum(), settings)
