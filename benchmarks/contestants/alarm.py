"""A contestant of W5c: a function to the log evidence and the 34 marginals; errors are told off the clock.

Law: `run(i)` is the same work for every i; the error is the largest of all marginals, against float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.workloads import alarm_answers

FEW, MANY = 4, 100  # queries of a run: milliseconds each where nothing is compiled, fractions of one elsewhere

type Found = tuple[Any, Mapping[str, Any]]  # the log evidence, or None, and the marginals by name


class AlarmRun:
    """`run(i)`: call a function that gives the log evidence, or None where it finds none, and the marginals.

    The first call asks one query, as a user who has one; later calls ask so many that a clock can read them.
    """

    def __init__(self, function: Callable[[], Found], queries: int) -> None:
        self._function, self._queries, self.work_units = function, queries, float(queries)

    def __call__(self, i: int) -> Found:
        """One query, or many."""
        found = self._function()
        for _ in range(self._queries - 1 if i else 0):
            found = self._function()
        return found

    def told(self, found: Found) -> dict[str, float]:
        """Scalars of a run."""
        log_evidence, marginals = found
        exact = alarm_answers()[1]
        error = max(np.abs(np.asarray(marginals[name], float) - p).max() for name, p in exact.items())
        value = {} if log_evidence is None else {"log_likelihood": float(log_evidence)}
        return {**value, "marginal_error": float(error)}
