"""A contestant of W5b: a jitted function to the log likelihood and all marginals; errors are told off the clock.

Law: `run(i)` is the same work for every i; the log likelihood and its remainder are the contestant's own numbers, the
error of the marginals is the largest of all T x K, against float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.contestants.staged import Staged
from benchmarks.workloads import hidden_answers


class HiddenRun:
    """`run(i)`: call `function(*data)`, which gives log_likelihood, marginals, and perhaps a remainder."""

    def __init__(self, function: Callable[..., Mapping[str, Any]], data: tuple[Any, ...]) -> None:
        self._function = Staged(function)
        self._data = data

    @property
    def stages(self) -> dict[str, float]:
        """CPU seconds of the stages of the first call."""
        return self._function.stages

    def __call__(self, i: int) -> Mapping[str, Any]:
        """One run."""
        return self._function(*self._data)

    def told(self, found: Mapping[str, Any]) -> dict[str, float]:
        """Scalars of a run."""
        error = np.abs(np.asarray(found["marginals"], np.float64) - hidden_answers()[1]).max()
        scalars = {name: float(value) for name, value in found.items() if name != "marginals"}
        return {**scalars, "marginal_error": float(error)}
