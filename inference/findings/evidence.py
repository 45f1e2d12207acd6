"""Evidence of independent runs, and the effective size of weights, on the host in float64.

Law: E[Z_r] = Z for every run, so runs are averaged on the natural scale. The log of that mean is too low where runs
disagree: by half the variance of log Z_r where the largest run rules the mean. Its error counts that.

The working model is log Z_r ~ N(log Z - v/2, v), the limit of long filters and of tempering in many dimensions
(Berard, Del Moral and Doucet 2014). Its interval for log Z, from the mean m and variance s^2 of R logs, joins that of m
by Student's t and that of v/2 by chi-square, each at the level of one standard deviation (the method of variance
estimates recovery of Zou, Taleban and Huo 2009):

    m + s^2/2 + sqrt(t^2 s^2/R + (s^2/2)^2 ((R - 1)/chi_low - 1)^2), and down to the same with 1 - (R - 1)/chi_high.

The error is the larger distance from the log of the mean to its ends, and at least t times that of the delta method:
for runs that agree it is t times that, 1.84 at two runs, 1.20 at four, 1.03 at sixteen. With 2, 4, 8 and 16 runs log Z
lies within one error in 0.68 or more of all cases and within two in 0.83, 0.90, 0.93 and 0.95, for any v of the model
and for tails of Student's t; within two in 0.68 or more where one run in ten has three times the spread of the others,
up to a spread of 1. Beyond it nothing that looks at few runs can bound such tails, and a result is not ok.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy import special


def pooled_evidence(log_evidence: ArrayLike | Sequence[float]) -> tuple[float, float]:
    """Pool the evidence of R runs: the log of the mean, and its error, which counts how runs disagree.

    Runs that died count as evidence of zero, and their share as a binomial one.

    Args:
        log_evidence: (R,) natural log of each run's evidence; -inf for a run that died.

    Returns: (log Zbar, error). The error is NaN where fewer than two runs are alive; both are where there is no run.

    >>> pooled, error = pooled_evidence([math.log(1.0), math.log(1.1), math.log(0.9), math.log(1.0)])
    >>> round(math.exp(pooled), 12), round(error, 3)
    (1.0, 0.051)
    >>> [round(number) for number in pooled_evidence([-1260.0, -1274.0, -1343.0, -1529.0])]
    [-1261, 27466]
    >>> pooled_evidence([-2.0])
    (-2.0, nan)
    """
    log_z = np.asarray(log_evidence, dtype=np.float64)
    largest = float(log_z.max()) if log_z.size else math.nan
    if not math.isfinite(largest):
        return largest, math.nan
    pooled = largest + math.log(float(np.exp(log_z - largest).mean()))
    alive, runs = log_z[np.isfinite(log_z)], len(log_z)
    if len(alive) < 2:
        return pooled, math.nan
    error = _spread_error(alive)
    if len(alive) < runs:
        dead = (runs - len(alive)) / (runs * len(alive))  # (1 - p) / (R p), of the log of the share p that is alive
        error = math.hypot(error, _quantiles(runs - 1)[0] * math.sqrt(dead))
    return pooled, error


def _spread_error(log_z: np.ndarray) -> float:
    """Give the error of the log of the mean of runs that are alive, two or more."""
    runs = len(log_z)
    t, low, high = _quantiles(runs - 1)
    offset = float(log_z.max())
    fall = log_z - offset
    ratio = np.exp(fall)
    pooled = math.log(float(ratio.mean()))
    delta = math.sqrt(float(np.sum((ratio / ratio.mean() - 1.0) ** 2)) / (runs * (runs - 1)))
    variance = float(fall.var(ddof=1))
    centre, within = float(fall.mean()) + variance / 2, t * math.sqrt(variance / runs)
    above = centre + math.hypot(within, variance / 2 * ((runs - 1) / low - 1.0)) - pooled
    below = pooled - centre + math.hypot(within, variance / 2 * (1.0 - (runs - 1) / high))
    return max(above, below, t * delta)


@functools.lru_cache
def _quantiles(freedom: int) -> tuple[float, float, float]:
    """Give Student's t and the lower and upper chi-square that leave out as much as one standard deviation."""
    tail = float(special.ndtr(-1.0))
    return (
        float(-special.stdtrit(freedom, tail)),
        float(special.chdtri(freedom, 1.0 - tail)),
        float(special.chdtri(freedom, tail)),
    )


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
