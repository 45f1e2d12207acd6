"""Checks of what a user gives to the classifier, before anything is computed.

Law: what passes has shapes that fit and settings that mean something; what does not is refused by its name, with what
was expected and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral, Real
from os import PathLike
from typing import Any

import numpy as np
from scipy.sparse import issparse, triu

from lawful.errors import LawfulError, ObservationError

from .bags import Bags
from .noise import is_noise

__all__ = ["check_classes", "check_consistent", "check_counted", "check_rows_of_bags", "check_settings", "is_whole"]

MOST_PAIRS = 10_000_000  # of bags of a row, up to which bags are compared


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings of the classifier that mean nothing.

    Args:
        settings: values by the names of the constructor; those with errors of their own are left to them.

    Raises: LawfulError with the name and the values that are allowed.

    >>> check_settings({"coupling": 0.5, "rounds": "auto", "n_neighbors": 5})
    """
    for name, (allowed, wanted) in ALLOWED.items():
        if name in settings and not allowed(settings[name]):
            raise LawfulError(f"{name}={settings[name]!r}. Fix: give {wanted}.")


def check_rows_of_bags(bags: Any, n_rows: int, where: str) -> None:
    """Refuse bags that are not those of the rows, with what is likely to have happened.

    Args:
        bags: numbers (n,), a membership (n_b, n), or `Bags`.
        n_rows: number of rows of X.
        where: the method that was called.

    Raises: ObservationError.

    >>> check_rows_of_bags([0, 0, 1], 3, "fit_bags")
    """
    shape: tuple[int, ...] = bags.shape if issparse(bags) else np.shape(bags)
    if isinstance(bags, Bags):
        shape = (bags.n_rows,)
    if len(shape) not in (1, 2) or shape[-1] == n_rows:
        return  # other shapes have an error of their own
    fix = "give the bag of each row, -1 for a row in none"
    if len(shape) == 2:
        fix = "give a membership of bags by rows (n_b, n)"
        if shape[0] == n_rows:
            fix = (
                "give the column alone, as bags[:, 0]" if shape[1] == 1 else "transpose it, so that it is bags by rows"
            )
    raise ObservationError(f"{where}: X has {n_rows} rows, and bags of shape {shape} are of {shape[-1]}. Fix: {fix}.")


def check_counted(bags: Bags, where: str) -> None:
    """Refuse bags of which nothing is known.

    Raises: ObservationError.

    >>> check_counted(Bags.from_ids([0, 0], [1]), "fit_bags")
    """
    if not np.any(bags.known & (bags.sizes > 0)):
        raise ObservationError(
            f"{where}: {bags} has no bag with members and a known count. Fix: give counts= or proportions=, one a bag; "
            "NaN is for a count that is not known."
        )


def check_consistent(bags: Bags, where: str) -> None:
    """Refuse exact counts of two bags that overlap and that no labels of their common rows allow.

    Law: of c common rows, the count S of a bag of B leaves max(0, S + c - B) to min(S, c) ones; the ranges of two bags
    must meet. Three and more bags may contradict each other though any two of them do not: `missed` may tell it after a
    fit, and `transduce(kind="map")` proves it.

    Raises: ObservationError with the two bags.

    >>> check_consistent(Bags.from_membership([[1, 1, 0], [0, 1, 1]], [2, 1]), "fit_bags")
    """
    if bags.noise is not None or not bags.overlapping:
        return
    known = np.flatnonzero(bags.known & (bags.sizes > 0))
    part = bags.take(known)
    if float(np.sum(part.memberships.astype(float) ** 2)) > MOST_PAIRS:
        return
    within = part.membership.astype(np.int64)
    common = triu(within @ within.T, 1).tocoo()
    first, second, shared = common.row, common.col, common.data
    counts = part.counts if part.counts.ndim == 2 else part.counts[:, None]
    own = [
        (np.maximum(0, counts[b] + (shared - part.sizes[b])[:, None]), np.minimum(counts[b], shared[:, None]))
        for b in (first, second)
    ]
    (low, high), (other_low, other_high) = own
    wrong = np.argwhere((low > other_high) | (other_low > high))
    if len(wrong):
        pair, _ = wrong[0]
        one, other = int(known[first[pair]]), int(known[second[pair]])
        raise ObservationError(
            f"{where}: bags {one} and {other} have {shared[pair]} members in common, and no labels of these "
            f"allow both counts, {bags.counts[one].tolist()} of {bags.sizes[one]} and {bags.counts[other].tolist()} of "
            f"{bags.sizes[other]}. Fix: look up the counts of these bags and who their members are, or give "
            "count_noise=.",
            bag=one,
        )


def check_classes(classes: Any, n_classes: int) -> np.ndarray:
    """Give the names of the classes (K,), by default 0 to K - 1.

    Raises: ObservationError where they are not as many as are counted, or not different.

    >>> check_classes(["no", "yes"], 2).tolist(), check_classes(None, 3).tolist()
    (['no', 'yes'], [0, 1, 2])
    """
    names = np.arange(n_classes) if classes is None else np.asarray(classes)
    if names.shape != (n_classes,) or len(np.unique(names)) != n_classes:
        counted = "counts of the second of 2 classes" if n_classes == 2 else f"counts of {n_classes} classes"
        raise ObservationError(
            f"fit_bags: classes={classes!r} for {counted}. Fix: give {n_classes} different names, in the order of the "
            "counts; counts of more classes have a column for each (n_b, K)."
        )
    return names


def is_whole(value: Any, least: int) -> bool:
    """Tell whether something is a whole number, and how small it may be.

    >>> is_whole(5, 1), is_whole(True, 1), is_whole(2.0, 1)
    (True, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def _number(value: Any, below: float = np.inf) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) < below


def _is(value: Any, *names: str) -> bool:
    return isinstance(value, str) and value in names


ALLOWED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "coupling": (lambda v: _is(v, "auto", "off") or _number(v, 1.0), "'auto', 'off', or a number from 0 to below 1"),
    "n_neighbors": (lambda v: is_whole(v, 1), "a whole number from 1"),
    "metric": (lambda v: _is(v, "cosine", "euclidean"), "'cosine' or 'euclidean'"),
    "n_components": (lambda v: is_whole(v, 1), "a whole number from 1"),
    "count_noise": (
        lambda v: v is None or is_noise(v),
        "None where counts are exact, or a noise as Normal(1.0) or Rounded(2)",
    ),
    "rounds": (lambda v: _is(v, "auto") or is_whole(v, 0), "'auto', or a whole number from 0"),
    "cross_fit": (
        lambda v: _is(v, "auto") or (is_whole(v, 0) and int(v) != 1),
        "'auto', 0 for none, or a number of folds from 2",
    ),
    "checkpoint": (lambda v: v is None or isinstance(v, (str, PathLike)), "None, or the path of a folder"),
}
