"""Bags held out and folds of bags: what was not fitted judges what was, and no label of a row is needed for it.

Law: bags that hang together by rows stay together; a bag that is left out keeps its place, and loses its count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..bags.bags import Bags
from ..training.fitted import Fitted

__all__ = ["LEAST_HELD", "cross_fitted", "folds_of", "held_out", "without_counts"]

SHARE = 0.1  # of the bags
LEAST_HELD = 20  # with fewer a comparison has no power


def held_out(bags: Bags, seed: int) -> np.ndarray:
    """Choose a tenth of the bags with known counts (n_b,), or none where that is fewer than 20.

    >>> int(held_out(Bags.from_ids(np.arange(400) // 2, np.ones(200)), seed=0).sum())
    20
    """
    rng = np.random.default_rng([seed, 1])
    usable = bags.known & (bags.sizes > 0)
    target = int(SHARE * usable.sum() + 1e-9)
    if target < LEAST_HELD:
        return np.zeros(bags.n_bags, bool)
    groups = bags.groups
    order = rng.permutation(np.unique(groups[usable]))
    reached = np.cumsum(np.bincount(groups[usable])[order])
    return usable & np.isin(groups, order[: np.searchsorted(reached, target) + 1])


def folds_of(bags: Bags, number: int, seed: int) -> np.ndarray:
    """Give the fold of each bag with a known count (n_b,), -1 for the others; groups stay together.

    >>> sorted(folds_of(Bags.from_ids(np.arange(4), np.ones(4)), 2, seed=0).tolist())
    [0, 0, 1, 1]
    """
    usable = bags.known & (bags.sizes > 0)
    groups = bags.groups
    distinct = np.unique(groups[usable])
    order = np.random.default_rng([seed, 2]).permutation(len(distinct))
    fold_of_group = np.full(groups.max(initial=0) + 1, -1)
    fold_of_group[distinct[order]] = np.arange(len(distinct)) % number
    return np.where(usable, fold_of_group[groups], -1)


def without_counts(bags: Bags, which: np.ndarray) -> Bags:
    """Forget the counts of some bags (a mask).

    >>> without_counts(Bags.from_ids([0, 1], [1, 0]), np.array([True, False])).known.tolist()
    [False, True]
    """
    return replace(bags, known=bags.known & ~which)


def cross_fitted(
    fit: Callable[[Bags], Fitted], X: np.ndarray, bags: Bags, whole: Fitted, number: int, seed: int
) -> np.ndarray:
    """Give log odds of the rows from fits that did not see the counts of their bags, (n,) or (n, K).

    Rows in no bag with a known count have those of the whole fit.
    """
    folds = folds_of(bags, number, seed)
    found: Any = np.array(whole.logits(X), float)
    for fold in range(number):
        own = np.flatnonzero((folds >= 0) & (folds != fold))
        hidden = np.ones(bags.n_bags, bool)
        hidden[own] = False
        fitted = fit(without_counts(bags, hidden))
        rows = np.unique(bags.members[(folds == fold)[bags.owners]])
        found[rows] = fitted.logits(X[rows])
    return found
