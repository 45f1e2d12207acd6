"""Edge correlation: whether neighbours have like labels, what counts of bags say of it, and whether they can.

Law: with R_b = S_b - |M_b| pi and v = pi (1 - pi), the mean of R_a R_b is rho v M_ab plus a constant, M_ab being the
number of neighbours between bags a and b. The slope over all pairs of bags estimates rho; a line through the origin
would not, since the sum of all R is zero and makes their products negative on average. Its standard error is about
B / sqrt(number of neighbours in different bags), whatever the data: large bags cannot tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix

from lawful.errors import ObservationError

from ..bags.bags import Bags

__all__ = ["EdgeCorrelation", "edge_correlation"]

SMALL = 0.1  # the standard error up to which a correlation is identified


@dataclass(frozen=True)
class EdgeCorrelation:
    """An estimate of the correlation of the labels of neighbours, on its own no strength of a coupling.

    Attributes:
        correlation: rho; NaN where no neighbours are in different bags.
        error: its standard error.
        pairs: number of pairs of bags with neighbours between them.

    >>> EdgeCorrelation(0.4, 0.05, 900).verdict, EdgeCorrelation(0.4, 0.3, 20).verdict
    ('neighbours agree', 'not identifiable')
    """

    correlation: float
    error: float
    pairs: int

    @property
    def identified(self) -> bool:
        """Whether counts can tell: the standard error is at most 0.1."""
        return bool(self.error <= SMALL)

    @property
    def verdict(self) -> str:
        """Say what follows: "neighbours agree", "no sign that neighbours agree", or "not identifiable"."""
        if not self.identified:
            return "not identifiable"
        return "neighbours agree" if self.correlation > 3 * self.error else "no sign that neighbours agree"


def edge_correlation(edges: Any, bags: Bags, residuals: Any = None) -> EdgeCorrelation:
    """Estimate the correlation of the labels of neighbours from counts alone.

    Args:
        edges: neighbours (E, 2), each pair once.
        bags: bags that do not overlap; those whose count is not known are left out.
        residuals: counts less what a learner expects (n_b,), from a learner that has not seen these bags: then the
            estimate is of what neighbours add to it. Residuals of the bags it was fitted to are far too small.

    Raises: ObservationError for bags that overlap or counts of classes.

    >>> edges = np.stack([np.arange(0, 4000, 2), np.arange(1, 4000, 2)], axis=1)
    >>> labels = np.repeat(np.random.default_rng(0).random(2000) < 0.3, 2)  # equal in each pair
    >>> ids = np.random.default_rng(1).permutation(4000) // 4
    >>> found = edge_correlation(edges, Bags.from_labels(labels, ids))
    >>> found.verdict, abs(found.correlation - 1) < 4 * found.error
    ('neighbours agree', True)
    """
    if bags.counts.ndim > 1 or bags.overlapping:
        raise ObservationError("edge_correlation: expected counts of ones in bags that do not overlap.")
    edges, used = np.asarray(edges), np.flatnonzero(bags.known & (bags.sizes > 0))
    places = np.full(bags.n_bags + 1, -1)
    places[used] = np.arange(len(used))
    ends = places[bags.ids[edges]] if len(edges) else np.zeros((0, 2), int)
    ends = ends[(ends >= 0).all(axis=1) & (ends[:, 0] != ends[:, 1])]
    ends.sort(axis=1)
    rate = float(bags.base_rate) if len(used) else float("nan")
    variance, sizes = rate * (1 - rate), bags.sizes[used]
    off = bags.estimates[used] - sizes * rate if residuals is None else np.asarray(residuals, float)[used]
    many = len(used) * (len(used) - 1) / 2
    counted = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(used),) * 2).tocsr().tocoo()
    if not len(ends) or not variance > 0:
        return EdgeCorrelation(float("nan"), float("inf"), counted.nnz)
    x = variance * counted.data
    products = off[counted.row] * off[counted.col]
    mean_x, mean_t = x.sum() / many, (off.sum() ** 2 - (off**2).sum()) / (2 * many)
    spread = (x**2).sum() - many * mean_x**2
    if not spread > 1e-12 * (x**2).sum():
        return EdgeCorrelation(float("nan"), float("inf"), counted.nnz)
    slope = ((x * products).sum() - many * mean_x * mean_t) / spread
    return EdgeCorrelation(float(slope), float(sizes.mean() * variance / np.sqrt(spread)), counted.nnz)
