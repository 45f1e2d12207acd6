"""A contestant of W5d: a function to the messages of all bags; errors are told off the clock.

Law: `run(i)` is the same work for every i; the error is the largest of the first bags, against float64, and infinite
where a message is not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.workloads import CHECKED_BAGS, count_messages


class BagRun:
    """`run(i)`: call `function(*data)`, which gives messages (bags, members)."""

    def __init__(self, function: Callable[..., Any], data: tuple[Any, ...], settings: Mapping[str, Any]) -> None:
        self._function, self._data, self._settings = function, data, dict(settings)

    @property
    def stages(self) -> dict[str, float]:
        """CPU seconds of the stages of the first call, where it has stages."""
        return getattr(self._function, "stages", {})

    def __call__(self, i: int) -> Any:
        """One run."""
        return self._function(*self._data)

    def told(self, found: Any) -> dict[str, float]:
        """Scalars of a run."""
        exact = count_messages(self._settings["members"], self._settings["share"])
        every = np.asarray(found, np.float64)
        error = np.abs(every[:CHECKED_BAGS] - exact).max()
        return {"message_error": float(error) if np.isfinite(every).all() else float("inf")}
