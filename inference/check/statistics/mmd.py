"""MMD, maximum mean discrepancy: whether two samples of vectors have one law, with a bound without permutations.

Law: for a kernel between 0 and 1, two independent samples of n of one law have
P(MMD - sqrt(2 / n) > e) <= exp(-e^2 n / 4).

Reference: Gretton, Borgwardt, Rasch, Schölkopf and Smola (2012), A kernel two-sample test, JMLR 13, Theorem 8.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.distance import cdist


def mmd(x: np.ndarray, y: np.ndarray, width: float) -> float:
    """Return the biased estimate of the discrepancy by a Gaussian kernel, for samples (n, d).

    >>> x = np.linspace(0.0, 1.0, 50)[:, None]
    >>> mmd(x, x, 0.5), round(mmd(x, x + 1.0, 0.5), 2)
    (0.0, 1.01)
    """

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-0.5 * cdist(a, b, "sqeuclidean") / width**2).mean())

    return math.sqrt(max(mean(x, x) + mean(y, y) - 2 * mean(x, y), 0.0))


def mmd_p_value(x: np.ndarray, y: np.ndarray, width: float | None = None) -> float:
    """Return a bound on the probability of a discrepancy as large as this, where both samples have one law.

    Args:
        x: a sample (n, d).
        y: another; of the longer one the first n are taken.
        width: of the kernel; fixed before the samples are seen. Default: that of independent uniform columns on [0, 1],
            sqrt(d / 6), their typical distance.

    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.random((2, 500, 3))
    >>> mmd_p_value(x, y), mmd_p_value(x, y**3) < 1e-6
    (1.0, True)
    """
    n = min(len(x), len(y))
    excess = mmd(x[:n], y[:n], math.sqrt(x.shape[1] / 6) if width is None else width) - math.sqrt(2 / n)
    return math.exp(-(max(excess, 0.0) ** 2) * n / 4)


def energy_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Return the energy distance of two samples (n, d): 2 E|X - Y| - E|X - X'| - E|Y - Y'|.

    >>> round(energy_distance(np.array([[0.0], [1.0]]), np.array([[0.0], [1.0]])), 12)
    0.0
    """
    return float(2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean())
