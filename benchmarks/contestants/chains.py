"""A contestant whose run gives the draws of Markov chains: what is told of them, off the clock.

Law: bulk effective sample sizes are those of ArviZ, the least over the coordinates, on at most 64 of the chains and
scaled up to all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from arviz_stats.base import array_stats

from benchmarks.contestants.staged import Staged

MOST = 64  # chains; the cost of the estimate grows with them


def told(draws: Any) -> dict[str, float]:
    """Posterior means and the least effective sample size of draws (chain, draw, coordinate)."""
    points = np.asarray(draws, np.float64)
    chains, _, coordinates = points.shape
    some = points[:MOST]
    sizes = [array_stats.ess(some[..., i], chain_axis=0, draw_axis=1, method="bulk") for i in range(coordinates)]
    means = points.mean(axis=(0, 1))
    return {"ess": min(sizes) * chains / len(some)} | {f"mean_{i}": mean for i, mean in enumerate(means)}


class ChainRun:
    """`run(i)` with key i and the data gives draws (chain, draw, coordinate); `told` makes named scalars of them.

    `work_units` is the work of a run where it is not that of the variant.
    """

    def __init__(self, function: Callable[..., Any], data: tuple[Any, ...], work_units: float | None = None) -> None:
        self._function, self._data, self.work_units = function, data, work_units
        self.told = told

    @property
    def stages(self) -> dict[str, float]:
        """CPU seconds of the stages of the first call."""
        return self._function.stages if isinstance(self._function, Staged) else {}

    def __call__(self, i: int) -> Any:
        """One run with key i."""
        return self._function(jax.random.key(i), *self._data)
