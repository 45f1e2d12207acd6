"""ECDF: simultaneous bands for the distribution function of ranks, by the exact law of its path.

Law: where ranks are uniform, the whole path stays within a band of level 1 - alpha with probability at least that: the
counts up to each point are a Markov chain with binomial steps, so the probability of a path is summed, not simulated.

Reference: Säilynoja, Bürkner and Vehtari (2022), Graphical test for discrete uniformity and its applications in
goodness-of-fit evaluation and multiple sample comparison, Algorithm 1.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import binom


def p_value(counts: np.ndarray) -> float:
    """Return the probability that uniform ranks leave the narrowest band which these counts touch.

    Args: counts: number of ranks in each of equally large bins.

    >>> round(p_value(np.array([25, 26, 24, 25])), 2), p_value(np.array([70, 10, 10, 10])) < 1e-12
    (1.0, True)
    """
    counts = np.asarray(counts)
    n, share = int(counts.sum()), np.arange(1, len(counts) + 1) / len(counts)
    path = np.cumsum(counts)
    tails = np.minimum(binom.cdf(path, n, share), binom.sf(path - 1, n, share))[:-1]
    return _leaves(n, len(counts), float(tails.min() * (1 + 1e-9)))


def _limits(n: int, points: int, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Counts whose tail on either side is above gamma at each point."""
    share = np.arange(1, points + 1) / points
    low, high = binom.ppf(gamma, n, share), binom.isf(gamma, n, share)
    low = np.where(binom.cdf(low, n, share) <= gamma, low + 1, low)
    high = np.where(binom.sf(high - 1, n, share) <= gamma, high - 1, high)
    low[-1] = high[-1] = n
    return low.astype(int), high.astype(int)


def _leaves(n: int, points: int, gamma: float) -> float:
    """Probability that the path of uniform ranks leaves the band of points with tails above gamma."""
    low, high = _limits(n, points, gamma)
    inside, left = np.zeros(n + 1), 0.0  # left adds what leaves: 1 - inside would lose small probabilities
    inside[0] = 1.0
    counts = np.arange(n + 1)
    for k in range(points - 1):
        here = np.flatnonzero(inside)
        steps = counts[None, :] - here[:, None]
        moved = inside[here] @ binom.pmf(steps, n - here[:, None], 1 / (points - k))
        outside = (counts < low[k]) | (counts > high[k])
        left += float(moved[outside].sum())
        inside = np.where(outside, 0.0, moved)
    return left
