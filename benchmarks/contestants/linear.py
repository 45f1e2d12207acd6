"""A contestant of W8: a jitted function for each task; its largest errors are told off the clock.

Law: `run(i)` is the same work for every i. Errors of moments are absolute; that of a gradient is relative to its
largest entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contestants.staged import Staged
from benchmarks.workloads import Linear, linear, linear_answers


class LinearRun:
    """`run(i)`: the function of the task on transition matrix and data: a log likelihood, and more by the task."""

    def __init__(self, settings: Mapping[str, Any], functions: Callable[[Linear], Mapping[str, Any]]) -> None:
        self.dtype, self._task, self._steps = settings["dtype"], settings["task"], settings["steps"]
        jax.config.update("jax_enable_x64", self.dtype == "float64")
        model = linear(self._steps)
        self._function = Staged(functions(model)[self._task])
        self._data = (jnp.asarray(model.transition, self.dtype), jnp.asarray(model.observed, self.dtype))

    @property
    def stages(self) -> dict[str, float]:
        """CPU seconds of the stages of the first call."""
        return self._function.stages

    def __call__(self, i: int) -> Any:
        """One run."""
        return self._function(*self._data)

    def told(self, found: Any) -> dict[str, float]:
        """Scalars of a run."""
        exact = linear_answers(self._steps)
        if self._task == "evidence":
            return {"log_likelihood": float(found)}
        value, rest = found
        if self._task == "gradient":
            wanted = exact["gradient"]
            error = np.abs(np.asarray(rest, np.float64) - wanted).max() / np.abs(wanted).max()
        else:
            pairs = zip(rest, exact[self._task], strict=True)
            error = max(np.abs(np.asarray(part, np.float64) - wanted).max() for part, wanted in pairs)
        name = "gradient_error" if self._task == "gradient" else "marginal_error"
        return {"log_likelihood": float(value), name: float(error)}
