"""Bags that were made by a feature: is the bag of a row told by its covariates?

Law: it is where the columns that are equal within each bag, with the ranges of one more column at most, are different
in every two bags. Bags that were put together at random are taken for such with a probability of at most 1e-6.

The covariates then tell every count, whatever else is learned, so counts do not say what these columns mean beyond the
bags that were seen; and base rates differ between bags, so a bag is not worth one label.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.special import gammaln

from .bags import Bags
from .members import few_bags

__all__ = ["FeatureBagsWarning", "Found", "made_by_features", "warned"]

ALARM = 1e-6  # of bags that were put together at random
SHOWN = 4  # names of columns in words


class FeatureBagsWarning(UserWarning):
    """Bags follow from the covariates, so these tell every count whatever else is learned."""


class Found(NamedTuple):
    """Columns that are equal within each bag, and the column whose ranges part the bags that are alike in these."""

    equal: np.ndarray
    parting: int | None

    def said(self, names: Any = None) -> str:
        """Say it in words.

        >>> Found(np.array([0, 2]), None).said(["city", "age", "year"])
        "the bag of a row follows from columns 'city', 'year', so these tell every count by themselves."
        """
        columns = [*self.equal.tolist(), *([] if self.parting is None else [self.parting])]
        shown = [repr(column if names is None else str(names[column])) for column in columns[:SHOWN]]
        more = f" and {len(columns) - SHOWN} more" if len(columns) > SHOWN else ""
        which = f"column{'s' if len(columns) > 1 else ''} {', '.join(shown)}{more}"
        return f"the bag of a row follows from {which}, so these tell every count by themselves."


REMEDY = (
    "Fix: leave out these columns, if the classifier is for rows of other bags; or keep them, and compare with a fit "
    "without them by the likelihood of bags that were held out. The yardstick of one label a bag does not hold."
)


def made_by_features(X: Any, bags: Bags) -> Found | None:
    """Find the columns that bags were made by; None where there are none, or chance may have made it seem so.

    Args:
        X: rows (n, d).
        bags: bags that do not overlap; others are taken for no such.

    >>> city = np.repeat([0.0, 1.0, 2.0], 10)
    >>> X = np.stack([city, np.tile(np.arange(10.0), 3)], axis=1)
    >>> made_by_features(X, Bags.from_ids(np.repeat([2, 0, 1], 10)))
    Found(equal=array([0]), parting=None)
    >>> made_by_features(X, Bags.from_ids(np.arange(30) % 3)) is None
    True
    """
    filled = bags.take(bags.sizes > 0)
    if filled.n_bags < 2 or filled.sizes.max() == 1 or bags.overlapping:
        return None
    X = np.asarray(X)
    varied = np.flatnonzero(X.min(axis=0) < X.max(axis=0))
    sure = np.log(ALARM / max(2 * len(varied), 1))
    low, high = np.empty((2, filled.n_bags, len(varied)), X.dtype)
    same, apart = np.ones((2, len(varied)), bool)
    for few in few_bags(filled):
        low[few], high[few] = _ranges(X, varied, filled, few)
        same &= np.all(low[few] == high[few], axis=0)
        apart &= _parted(low[few], high[few])
        if not same.any() and not apart.any():
            return None  # with random bags after the first few, unless columns hardly vary
    same &= low.min(axis=0) < high.max(axis=0)  # among rows that are in bags
    if same.any():
        columns = X[np.ix_(filled.members, varied[same])].T
        if min(_log_chance_of_equal(column, filled.sizes) for column in columns) > sure:
            return None
    alike = (
        np.unique(low[:, same], axis=0, return_inverse=True)[1].reshape(-1) if same.any() else np.zeros(len(low), int)
    )
    if alike.max() == filled.n_bags - 1:
        return Found(varied[same], None)
    parted, chance = np.ones(len(varied), bool), 0.0
    for own in _groups(alike):
        parted &= _parted(low[own], high[own])
        chance += float(gammaln(len(own) + 1) - _log_orders(filled.sizes[own]))
    return Found(varied[same], int(varied[parted][0])) if parted.any() and chance < sure else None


def _ranges(X: np.ndarray, columns: np.ndarray, bags: Bags, few: slice) -> tuple[np.ndarray, np.ndarray]:
    """Give the least and the largest of some columns in each of a few bags (few, columns)."""
    rows = X[np.ix_(bags.members[bags.offsets[few.start] : bags.offsets[few.stop]], columns)]
    starts = bags.offsets[few] - bags.offsets[few.start]
    return np.minimum.reduceat(rows, starts), np.maximum.reduceat(rows, starts)


def _parted(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Mark columns whose ranges in the bags do not meet (d,)."""
    order = np.argsort(low, axis=0, kind="stable")
    low, high = np.take_along_axis(low, order, axis=0), np.take_along_axis(high, order, axis=0)
    return np.all(high[:-1] < low[1:], axis=0)


def _groups(alike: np.ndarray) -> Iterator[np.ndarray]:
    """Give the bags of each pattern that several bags have."""
    order = np.argsort(alike, kind="stable")
    return (own for own in np.split(order, np.flatnonzero(np.diff(alike[order])) + 1) if len(own) > 1)


def _log_chance_of_equal(column: np.ndarray, sizes: np.ndarray) -> float:
    """Bound the log probability that bags of random rows have one value each.

    The rows of a value are then those of some bags: there are not more ways to choose these bags than to choose as many
    as the smallest ones fill up, and all choices of as many rows are equally likely. The best value gives the bound.
    """
    rows, bags = len(column), len(sizes)
    count = np.unique(column, return_counts=True)[1]
    most = np.searchsorted(np.cumsum(np.sort(sizes)), count, side="right")
    ways = np.where(most <= bags / 2, _log_choices(bags, most) + np.log1p(most), bags * np.log(2))
    return float(np.min(ways - _log_choices(rows, count)))


def _log_choices(of: int, some: np.ndarray) -> np.ndarray:
    return gammaln(of + 1) - gammaln(some + 1) - gammaln(of - some + 1)


def _log_orders(sizes: np.ndarray) -> float:
    """Log of the number of ways to put rows into bags of these sizes."""
    return float(gammaln(sizes.sum() + 1) - gammaln(sizes + 1).sum())


def warned(X: Any, bags: Bags, names: Any = None) -> tuple[str, ...]:
    """Warn where bags were made by features, and give a note of it.

    >>> warned(np.arange(30.0)[:, None], Bags.from_ids(np.arange(30) % 3))
    ()
    """
    found = made_by_features(X, bags)
    if found is None:
        return ()
    warnings.warn(f"{found.said(names)} {REMEDY}", FeatureBagsWarning, stacklevel=4)
    return (found.said(names),)
