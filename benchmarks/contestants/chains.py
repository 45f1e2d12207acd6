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


def told_in_order(draws: tuple[Any, Any]) -> dict[str, float]:
    """The same of a mixture, from the means (chain, draw, component) and the labels (chain, draw, item) of its draws.

    Effective sizes are of what an exchange of components leaves as it is: the means in order, and of each item the
    place of its mean in that order. An item that never changes its place has none.
    """
    means, labels = (np.asarray(x) for x in draws)
    order = np.argsort(means, axis=-1)
    places = np.take_along_axis(np.argsort(order, axis=-1), labels.astype(int), axis=-1)
    places = places[..., np.ptp(places, axis=(0, 1)) > 0]
    sized = told(np.concatenate([np.take_along_axis(means, order, axis=-1), places], axis=-1))
    return {**told(means), "ess": sized["ess"]}


class ChainRun:
    """`run(i)` with key i and the data gives draws (chain, draw, coordinate); `told` makes named scalars of them."""

    def __init__(
        self, function: Callable[..., Any], data: tuple[Any, ...], told: Callable[[Any], dict[str, float]] = told
    ) -> None:
        self._function, self._data, self.told = function, data, told

    @property
    def stages(self) -> dict[str, float]:
        """CPU seconds of the stages of the first call."""
        return self._function.stages if isinstance(self._function, Staged) else {}

    def __call__(self, i: int) -> Any:
        """One run with key i."""
        return self._function(jax.random.key(i), *self._data)
