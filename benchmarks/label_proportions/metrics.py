"""What is said of scores and probabilities of rows whose labels are known, and of differences over paired seeds."""

from __future__ import annotations

import numpy as np
from scipy import special, stats


def auc(y: np.ndarray, score: np.ndarray) -> float:
    """Return the probability that a one scores above a zero, ties counted half; NaN without both.

    >>> auc(np.array([0, 1, 0, 1]), np.array([0.1, 0.1, 0.0, 0.2]))
    0.875
    """
    ones = int(np.sum(y))
    zeros = len(y) - ones
    if not ones or not zeros:
        return float("nan")
    ranks = stats.rankdata(score)
    return float((ranks[np.asarray(y) > 0].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def log_loss(y: np.ndarray, logits: np.ndarray) -> float:
    """Return the mean of -log P(label) at these log odds, at most 30 on either side."""
    z = np.clip(np.asarray(logits, float), -30, 30)
    return float(np.mean(np.logaddexp(0, z) - y * z))


def calibration_error(y: np.ndarray, logits: np.ndarray, bins: int = 15) -> float:
    """Return the expected calibration error: |mean label - mean probability| over bins of equally many rows.

    >>> calibration_error(np.array([0, 1]), np.zeros(2), bins=1)
    0.0
    """
    chance = special.expit(np.asarray(logits, float))
    parts = np.array_split(np.argsort(chance, kind="stable"), bins)
    return float(sum(abs(y[part].mean() - chance[part].mean()) * len(part) for part in parts if len(part)) / len(y))


def paired_interval(differences: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Return the mean of differences and the ends of its t interval; NaN ends for fewer than two.

    >>> [round(x, 3) for x in paired_interval(np.array([0.01, 0.02, 0.03]))]
    [0.02, -0.005, 0.045]
    """
    differences = np.asarray(differences, float)
    n, mean = len(differences), float(np.mean(differences))
    if n < 2:
        return mean, float("nan"), float("nan")
    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * float(np.std(differences, ddof=1)) / n**0.5
    return mean, mean - half, mean + half
