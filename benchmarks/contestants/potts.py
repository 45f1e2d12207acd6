"""A contestant of W5a: a function to the marginals of a Potts grid after some sweeps; errors are told off the clock.

Law: `run(i)` is the same work for every i; the error is the largest of all marginals, against float64.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from benchmarks.workloads import potts_marginals


class PottsRun:
    """`run(i)`: call a function that gives marginals (L, L, K)."""

    def __init__(self, function: Callable[[], Any], settings: Mapping[str, Any]) -> None:
        self._function, self._settings = function, dict(settings)
        self.stages: dict[str, float] = {}

    def __call__(self, i: int) -> Any:
        """One run."""
        start = time.process_time()
        found = jax.block_until_ready(self._function())
        if not self.stages:
            self.stages["first_s"] = time.process_time() - start
        return found

    def told(self, found: Any) -> dict[str, float]:
        """Scalars of a run."""
        exact = potts_marginals(self._settings["side"], self._settings["states"], self._settings["sweeps"])
        return {"marginal_error": float(np.abs(np.asarray(found, np.float64) - exact).max())}
