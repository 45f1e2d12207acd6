"""A contestant of W6 in JAX: a jitted function of data and start to the log likelihoods of all E-steps.

Law: `run(i)` is the same work for every i; what is told is the log likelihood at the last E-step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from benchmarks.contestants.staged import Staged


class ExpertsRun:
    """`run(i)`: call `function(*arguments)`, which gives the log likelihoods (iterations,)."""

    def __init__(self, function: Callable[..., jax.Array], arguments: tuple[Any, ...]) -> None:
        self._function = Staged(function)
        self._arguments = arguments

    @property
    def stages(self) -> dict[str, float]:
        """CPU seconds of the stages of the first call."""
        return self._function.stages

    def __call__(self, i: int) -> Any:
        """One run."""
        return self._function(*self._arguments)

    def told(self, found: Any) -> Mapping[str, float]:
        """Scalars of a run."""
        return {"log_likelihood": float(np.asarray(found)[-1])}
