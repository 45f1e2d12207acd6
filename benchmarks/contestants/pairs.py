"""A contestant of W5e: a function to the marginals of binary pairs after some sweeps; errors are told off the clock.

Law: `run(i)` is the same work for every i; the error is the largest of all marginals, against float64. Where the
settings say so a run makes the graph as well; what was compiled before is then used again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from benchmarks.workloads import pair_marginals


class PairsRun:
    """`run(i)`: call `solve(make())`, which gives probabilities of ones (n,); `make` once, or in every run."""

    def __init__(
        self,
        make: Callable[[], Any],
        solve: Callable[[Any], Any],
        settings: Mapping[str, Any],
        exact: Callable[[int, int, int], np.ndarray] = pair_marginals,
    ) -> None:
        self._make, self._solve, self._settings, self._exact = make, solve, dict(settings), exact
        self._made = None if settings["building"] else make()

    def __call__(self, i: int) -> Any:
        """One run."""
        return jax.block_until_ready(self._solve(self._make() if self._made is None else self._made))

    def told(self, found: Any) -> dict[str, float]:
        """Scalars of a run."""
        exact = self._exact(self._settings["variables"], self._settings["bag"], self._settings["sweeps"])
        return {"marginal_error": float(np.abs(np.asarray(found, np.float64) - exact).max())}
