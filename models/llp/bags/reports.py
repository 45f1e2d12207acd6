"""Reports: what was counted in bags, checked against their sizes, with errors that name the bag.

Law: a report that passes leaves the bag at least one possible assignment of labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lawful.errors import NonFiniteError, ObservationError

__all__ = ["counted_classes", "refuse_impossible", "reports_of", "whole_numbers"]

NEAR = 1e-6  # how far a proportion may be from that of a whole number


def reports_of(counts: Any, proportions: Any, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give reports as numbers, (n_b,) or (n_b, K) and 0 where they are not known, and where they are (n_b,).

    >>> reports_of(None, [0.5, float("nan")], np.array([4, 2]))
    (array([2., 0.]), array([ True, False]))
    """
    name = "counts" if proportions is None else "proportions"
    given = np.asarray(counts if proportions is None else proportions)
    if given.dtype.kind not in "biuf" or given.ndim not in (1, 2) or (given.ndim == 2 and given.shape[1] < 2):
        kind = "text" if given.dtype.kind in "SU" else str(given.dtype)
        fix = f"convert them, as {name}.astype(float) does" if kind == "text" else "give one number a bag"
        if given.dtype.kind in "biuf" and given.ndim == 2:
            fix = f"give {name}[:, 0], which is of the second class"
        raise ObservationError(
            f"bags: {name} are {kind} of shape {given.shape}, expected numbers (n_b,), or (n_b, K) of K classes. "
            f"Fix: {fix}."
        )
    values = given.astype(float)
    columns = values if values.ndim == 2 else values[:, None]
    missing = np.isnan(columns).all(axis=1)
    broken = ~missing & ~np.isfinite(columns).all(axis=1)
    if broken.any():
        bag = int(np.flatnonzero(broken)[0])
        raise NonFiniteError(
            f"bags: the {name} of bag {bag} are {values[bag].tolist()}. Fix: give finite numbers, or NaN for a bag "
            "whose count is not known (for all classes of it).",
            bag=bag,
        )
    values[missing] = 0
    if proportions is not None:
        wrong = np.flatnonzero(((columns < 0) | (columns > 1)).any(axis=1))
        if len(wrong):
            bag = int(wrong[0])
            raise ObservationError(
                f"bags: the proportion of bag {bag} is {values[bag].tolist()}, expected numbers from 0 to 1. "
                "Fix: divide percentages by 100; give counts=, where these are counts.",
                bag=bag,
            )
        values = values * sizes.reshape((-1,) + (1,) * (values.ndim - 1))
    return values, ~missing


def whole_numbers(reports: np.ndarray, known: np.ndarray, sizes: np.ndarray, proportions: bool) -> np.ndarray:
    """Give counts as whole numbers.

    >>> whole_numbers(np.array([2.0000001]), np.array([True]), np.array([3]), True)
    array([2])
    """
    near = np.rint(reports)
    allowed = NEAR * np.maximum(sizes, 1) if proportions else np.zeros(len(sizes))
    gaps = np.abs(reports - near)
    off = (gaps if gaps.ndim == 1 else gaps.max(axis=1)) > allowed
    if np.any(off & known):
        bag = int(np.flatnonzero(off & known)[0])
        what = "proportion times size" if proportions else "count"
        raise ObservationError(
            f"bags: the {what} of bag {bag} is {reports[bag].tolist()}, with {sizes[bag]} members: no whole number. "
            "Fix: give noise= (count_noise= of the classifier), as Rounded(2) for proportions of two decimals or "
            "Normal(1.0) for noisy counts.",
            bag=bag,
        )
    return near.astype(np.int64)


def refuse_impossible(
    counts: np.ndarray, known: np.ndarray, sizes: np.ndarray, allowed: Callable[[], np.ndarray] | None
) -> None:
    """Refuse a report that no labels of the members could have; with noise, `allowed` says which reports are right."""
    if counts.ndim == 2 and allowed is not None:
        raise ObservationError("bags: noise= is for counts of ones (n_b,), and these are counts of classes (n_b, K).")
    if allowed is not None:
        wrong = known & ~allowed()
        why = "which its noise gives no count from 0 to the size"
    elif counts.ndim == 1:
        wrong = known & ((counts < 0) | (counts > sizes))
        why = "expected a count from 0 to the size"
    else:
        wrong = known & ((counts < 0).any(axis=1) | (counts.sum(axis=1) != sizes))
        why = "expected counts of at least 0 that add up to the size"
    if wrong.any():
        bag = int(np.flatnonzero(wrong)[0])
        fix = "look up the count of this bag and who its members are"
        if not sizes[bag]:
            fix = "number bags from 0 in the order of the counts; no row is in this one"
        raise ObservationError(
            f"bags: bag {bag} has {sizes[bag]} members and the count {counts[bag].tolist()}, {why}. Fix: {fix}.",
            bag=bag,
        )


def counted_classes(
    labels: np.ndarray, members: np.ndarray, owners: np.ndarray, n_bags: int, n_classes: int
) -> np.ndarray:
    """Count the members of each class: (n_b,) ones where there are two classes, else (n_b, K).

    >>> counted_classes(np.array([1, 0, 1]), np.array([0, 2]), np.array([0, 0]), 1, 2)
    array([2])
    """
    if n_classes < 2:
        raise ObservationError(f"bags: {n_classes} classes. Fix: give 2 or more.")
    own = labels[members]
    if own.size and (own.dtype.kind not in "biuf" or np.any((own != np.rint(own)) | (own < 0) | (own >= n_classes))):
        raise ObservationError(
            f"bags: labels are {sorted(set(own.tolist()))[:5]} and so on, expected classes 0 to {n_classes - 1}. "
            "Fix: number the classes."
        )
    own = own.astype(np.int64)
    if n_classes == 2:
        return np.bincount(owners, weights=own, minlength=n_bags).astype(np.int64)
    return np.bincount(owners * n_classes + own, minlength=n_bags * n_classes).reshape(n_bags, n_classes)
