"""Inputs: what an estimator is given, turned into bags, and what follows from it without inference.

Law: names of bags do not matter; bags are numbered in the order of their first rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import issparse
from scipy.special import expit

from lawful.errors import ObservationError

from .bags.bags import Bags
from .bags.checks import check_consistent, check_rows_of_bags
from .bags.noise import Sampled
from .bags.reports import reports_of
from .labels.one_against_rest import bags_of_class

__all__ = [
    "bag_numbers",
    "bags_of_labels",
    "counted_bags",
    "determined",
    "inner_shares",
    "most_even_class",
    "probabilities",
    "reweighed",
]


def bag_numbers(bags: Any, n_rows: int, where: str = "fit") -> Any:
    """Number bags by their first row, whatever they are called; -1 stays, and so does a membership.

    Args:
        bags: numbers or names (n,), or a membership (n_b, n).
        n_rows: number of rows of X.
        where: what was called, for errors.

    Raises: ObservationError for names that are missing, of several types, or not one a row.

    >>> bag_numbers(["b", "a", "b"], 3).tolist(), bag_numbers([7, -1, 3], 3).tolist()
    ([0, 1, 0], [0, -1, 1])
    """
    if isinstance(bags, Bags):
        raise ObservationError(
            f"{where}: bags are Bags, which know their counts. Fix: fit_bags(X, bags) or bag_log_likelihood(X, bags), "
            "without labels."
        )
    check_rows_of_bags(bags, n_rows, where)
    if issparse(bags) or np.ndim(bags) == 2:
        return bags
    names = np.asarray(bags)
    if names.shape != (n_rows,):
        raise ObservationError(
            f"{where}: bags of shape {names.shape} for {n_rows} rows. Fix: give the bag of each row."
        )
    missing = (names == np.array(None)) | (names != names) if names.dtype.kind in "Of" else np.zeros(n_rows, bool)
    if np.any(missing):
        row = int(np.flatnonzero(missing)[0])
        raise ObservationError(
            f"{where}: the bag of row {row} is {names[row]}. Fix: give its name; -1 is for a row in none."
        )
    try:
        _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    except TypeError as error:
        raise ObservationError(
            f"{where}: names of bags are of several types. Fix: give all as numbers or as text."
        ) from error
    outside = names == -1 if names.dtype.kind in "iuf" else np.zeros(n_rows, bool)
    rank = np.empty(len(first), int)
    real = np.array([not outside[at] for at in first], bool)
    rank[np.argsort(np.where(real, first, n_rows))] = np.arange(len(first))
    return np.where(outside, -1, rank[inverse])


def bags_of_labels(y: np.ndarray, bags: Any) -> tuple[np.ndarray, Bags]:
    """Count labels within bags: the names of the classes (K,), and the bags, of which nothing but counts is kept.

    Args:
        y: labels (n,); those of rows in no bag are not read.
        bags: number or name of the bag of each row (n,), -1 for none; a membership (n_b, n); None where each row is a
            bag of its own.

    Raises: ObservationError where no row is in a bag.

    >>> names, bags = bags_of_labels(np.array(["no", "yes", "yes"]), ["a", "a", "b"])
    >>> names.tolist(), bags.counts.tolist()
    (['no', 'yes'], [1, 1])
    """
    ids = np.arange(len(y)) if bags is None else bag_numbers(bags, len(y))
    seen = (Bags.from_ids(ids) if np.ndim(ids) == 1 else Bags.from_membership(ids)).memberships > 0
    if not seen.any():
        raise ObservationError("fit: no row is in a bag. Fix: give the bag of each row; -1 is for none.")
    names = np.unique(y[seen])
    codes = np.searchsorted(names, np.where(seen, y, y[seen][0]))
    return names, Bags.from_labels(codes, ids, max(2, len(names)))


def counted_bags(
    n_rows: int, bags: Any, counts: Any, proportions: Any, noise: Any, where: str, *, n_trials: Any = None
) -> Bags:
    """Take `Bags` as they are, or make them of ids or a membership; counts of two classes become counts of the second.

    `Bags` know their counts and how these were reported, so that nothing may be said of either beside them.

    Args:
        n_rows: number of rows of X.
        bags: numbers (n,), a membership (n_b, n), or `Bags`.
        counts: see `Bags.from_ids`.
        proportions: the same over the sizes.
        noise: of the counts; None where they are exact.
        where: the method that was called, for errors.
        n_trials: how many members were counted, if not all.

    Raises: ObservationError for bags of other rows, for counts that cannot be, alone or together, and for counts or a
        noise beside `Bags`.

    >>> counted_bags(3, [0, 0, 0], [[1, 2]], None, None, "fit_bags").counts.tolist()
    [2]
    """
    check_rows_of_bags(bags, n_rows, where)
    if isinstance(bags, Bags):
        _refuse_beside(bags, counts, proportions, noise, n_trials, where)
    else:
        if n_trials is not None:
            counts, proportions, noise = _sampled_counts(counts, proportions, noise, n_trials)
        make = Bags.from_ids if not issparse(bags) and np.ndim(bags) == 1 else Bags.from_membership
        bags = make(bags, counts, proportions=proportions, noise=noise)
    bags = bags_of_class(bags, 1) if bags.counts.shape[1:] == (2,) else bags
    check_consistent(bags, where)
    return bags


def _refuse_beside(bags: Bags, counts: Any, proportions: Any, noise: Any, n_trials: Any, where: str) -> None:
    """Refuse what would go unread, because `Bags` say it themselves."""
    given = {"counts": counts, "proportions": proportions, "n_trials": n_trials}
    named = [name for name, value in given.items() if value is not None]
    if named:
        raise ObservationError(
            f"{where}: {bags} and {named[0]} were given, and Bags have counts of their own. Fix: give the numbers of "
            f"the bags with {named[0]}=, or put these into the Bags."
        )
    if noise is not None and noise != bags.noise:
        raise ObservationError(
            f"{where}: {bags} and count_noise={noise!r} were given, and Bags have their own noise, {bags.noise!r}. "
            "Fix: make them with it, as Bags.from_ids(ids, counts, noise=...)."
        )


def _sampled_counts(counts: Any, proportions: Any, noise: Any, n_trials: Any) -> tuple[Any, Any, Sampled]:
    """Give the counts of samples of the bags, no proportions, and the law of the counts."""
    if noise is not None:
        raise ObservationError(f"n_trials and count_noise={noise!r} were given. Fix: give one of them.")
    law = Sampled(n_trials)
    if proportions is not None and counts is None:
        shares = np.asarray(proportions)
        drawn = law.of_bags(len(shares) if shares.ndim else 1)
        exact, known = reports_of(None, shares, drawn)
        if exact.ndim > 1:
            raise ObservationError("n_trials is for proportions of ones (n_b,). Fix: give those of the second class.")
        off = np.flatnonzero(np.abs(np.rint(exact) - exact) > 1e-6 * np.maximum(drawn, 1))
        if len(off):
            raise ObservationError(
                f"n_trials: the proportion of bag {off[0]} is {shares[off[0]]}, of no whole number of the members "
                "that were drawn. Fix: give counts.",
                bag=int(off[0]),
            )
        counts, proportions = np.where(known, np.rint(exact), np.nan), None
    return counts, proportions, law


def determined(bags: Bags) -> np.ndarray | None:
    """Give the labels of the rows where counts leave no choice, as for bags of one; None where they do.

    >>> determined(Bags.from_ids([0, 1, 1], [1, 0])).tolist()
    [1.0, 0.0, 0.0]
    """
    if bags.noise is not None or not bags.known[bags.sizes > 0].all() or not (bags.memberships > 0).all():
        return None
    counts, sizes = bags.counts, bags.sizes
    if not np.all((counts == 0) | (counts == sizes.reshape((-1,) + (1,) * (counts.ndim - 1)))):
        return None
    found = np.zeros((bags.n_rows, *counts.shape[1:]))
    found[bags.members] = (counts > 0)[bags.owners]
    return found


def most_even_class(bags: Bags) -> Bags:
    """Give the bags with the counts of the class whose share is nearest to one half, which tells most.

    >>> most_even_class(Bags.from_ids([0, 0, 0, 0], counts=[[1, 2, 1]])).counts.tolist()
    [2]
    """
    if bags.counts.ndim == 1:
        return bags
    return bags_of_class(bags, int(np.argmin(np.abs(bags.base_rate - 0.5))))


def inner_shares(bags: Bags) -> Any:
    """Give the base rate, or the shares of the classes (K,), away from 0 and 1 by half a row.

    >>> inner_shares(Bags.from_ids([0, 0], counts=[[2, 0, 0]])).round(4).tolist()
    [0.7143, 0.1429, 0.1429]
    """
    rows = max(float(bags.sizes[bags.known].sum()), 1.0)
    if bags.counts.ndim == 1:
        return float(np.clip(bags.base_rate, 0.5 / rows, 1 - 0.5 / rows))
    return (bags.base_rate * rows + 0.5) / (rows + 0.5 * bags.n_classes)


def probabilities(z: np.ndarray, classes: int) -> np.ndarray:
    """Give probabilities of the classes (n, K) from log odds (n,) or log scores (n, K).

    >>> probabilities(np.array([0.0]), 2).tolist()
    [[0.5, 0.5]]
    """
    if classes == 1:
        return np.ones((len(z), 1))
    if z.ndim == 1:
        return np.stack([expit(-z), expit(z)], axis=1)
    return np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))


def reweighed(probability: np.ndarray, before: Any, after: Any) -> np.ndarray:
    """Give probabilities (n, K) where classes have other shares: each odds is multiplied by the change of its prior.

    Raises: ObservationError for shares that do not fit, and where they leave a row no class that it can be of.

    >>> reweighed(np.array([[0.5, 0.5]]), [0.8, 0.2], [0.5, 0.5]).tolist()
    [[0.2, 0.8]]
    """
    before, after = np.asarray(before, float), np.asarray(after, float)
    if after.shape != before.shape or not np.all(after >= 0) or abs(after.sum() - 1) > 1e-6:
        raise ObservationError(f"class_prior={after.tolist()}. Fix: give {len(before)} shares that add up to 1.")
    found = probability * (after / np.where(before > 0, before, 1))
    total = found.sum(axis=1, keepdims=True)
    if not np.all(total > 0):
        raise ObservationError(
            f"class_prior={after.tolist()} excludes every class that row {int(np.argmin(total))} can be of. "
            "Fix: give each class a positive share."
        )
    return found / total
