"""Evidence of independent runs, and the effective size of weights, on the host in float64.

Law: E[Z_r] = Z for every run, so runs are averaged on the natural scale. The mean of the logarithms is too low, by
about half the variance of log Z_r, and is never reported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float


def pooled_evidence(log_evidence: ArrayLike | Sequence[float]) -> tuple[float, float]:
    """Pool the evidence of R runs: the log of the mean, and its standard error by the delta method.

    `se^2 = sum_r (Z_r / Zbar - 1)^2 / (R (R - 1))`, computed after subtracting the largest log evidence.

    Args:
        log_evidence: (R,) natural log of each run's evidence; -inf for a run that died.

    Returns: (log Zbar, se). The error is NaN for one run, and where every run died; both are where there is no run.

    >>> pooled, error = pooled_evidence([math.log(1.0), math.log(3.0)])
    >>> round(math.exp(pooled), 12), error
    (2.0, 0.5)
    >>> pooled_evidence([-2.0])
    (-2.0, nan)
    """
    log_z = np.asarray(log_evidence, dtype=np.float64)
    largest = float(log_z.max()) if log_z.size else math.nan
    if not math.isfinite(largest):
        return largest, math.nan
    z = np.exp(log_z - largest)
    mean, runs = float(z.mean()), len(z)
    error = math.sqrt(float(np.sum((z / mean - 1.0) ** 2)) / (runs * (runs - 1))) if runs > 1 else math.nan
    return largest + math.log(mean), error


def kish_ess(log_weight: ArrayLike | Sequence[Any]) -> Float[np.ndarray, ...]:
    """Return Kish's effective sample size (sum w)^2 / sum w^2 over the last axis; 0 where every weight is zero.

    >>> kish_ess([[0.0, 0.0, 0.0], [5.0, -math.inf, -math.inf], [-math.inf] * 3]).tolist()
    [3.0, 1.0, 0.0]
    """
    log_w = np.asarray(log_weight, dtype=np.float64)
    largest = log_w.max(axis=-1, keepdims=True)
    w = np.exp(log_w - np.where(np.isfinite(largest), largest, 0.0))
    squares = np.sum(w**2, axis=-1)
    return np.where(squares > 0, np.sum(w, axis=-1) ** 2 / np.where(squares > 0, squares, 1.0), 0.0)
