"""Results of populations on a path: the stages that a run needed, and temperatures that were not solved for.

Law: no number of a stage that a run needed is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...findings.findings import Finding
from ...results.result import Result


def along_path(result: Result) -> Result:
    """Cut the stages that no run needed, and say which temperatures were not solved for."""
    reached = np.asarray(result.stats["beta"])
    n_stages = np.sum(~np.isnan(reached), axis=1)
    longest = max(int(n_stages.max(initial=0)), 1)
    stats = {name: _first(array, longest, reached) for name, array in result.stats.items()}
    unsolved = stats.pop("unsolved")
    stats["n_stages"] = n_stages
    found = (*result.found, *_unsolved(unsolved, stats))
    return replace(result, stats=stats, found=found, finished=result.finished if result.interrupted else longest)


def _first(array: Any, longest: int, reached: np.ndarray) -> Any:
    """Keep the stages up to the longest run."""
    values = np.asarray(array)
    if values.shape != reached.shape:
        return array
    kept = values[:, :longest]
    return np.where(np.isnan(reached[:, :longest]), np.nan, kept) if kept.dtype.kind == "f" else kept


def _unsolved(unsolved: Any, stats: Mapping[str, Any]) -> tuple[Finding, ...]:
    count = int(np.sum(unsolved))
    if not count:
        return ()
    residual = float(np.nanmax(np.abs(np.asarray(stats["ess_residual"], float))))
    message = (
        f"{count} temperatures do not solve their equation: the effective sample size is off by up to {residual:.2g} "
        "N, or the stages ran out. The estimates hold, with more spread; allow more stages, as ladder=by_ess(0.5, "
        "max_stages=500), or give the ladder."
    )
    return (Finding("NOT_CONVERGED", message, (), residual, 1e-6),)
