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
from .bags.names import bags_by_name, numbered
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
        bags: numbers or names (n,), a membership (n_b, n), or "rows", with which every row is a bag of its own.
        n_rows: number of rows of X.
        where: what was called, for errors.

    Raises: ObservationError without bags, and for names that are missing, of several types, or not one a row.

    >>> bag_numbers(["b", "a", "b"], 3).tolist(), bag_numbers("rows", 3).tolist()
    ([0, 1, 0], [0, 1, 2])
    """
    if bags is None:
        raise ObservationError(
            f"{where}: no bags were given, and without them the label of every row would be read. Fix: give bags=, the "
            "bag of each row; bags='rows', if all labels are to be read; in a search or a validation give them to its "
            "fit, as search.fit(X, y, bags=bags, groups=bags), with routing of metadata on: "
            "sklearn.set_config(enable_metadata_routing=True)."
        )
    if isinstance(bags, Bags):
        raise ObservationError(
            f"{where}: bags are Bags, which know their counts. Fix: fit_bags(X, bags) or bag_log_likelihood(X, bags), "
            "without labels."
        )
    if isinstance(bags, str):
        if bags != "rows":
            raise ObservationError(f"{where}: bags={bags!r}. Fix: give the bag of each row, or 'rows'.")
        return np.arange(n_rows)
    if issparse(bags) or np.ndim(bags) == 2:
        check_rows_of_bags(bags, n_rows, where)
        return bags
    return numbered(bags, n_rows, where)[0]


def bags_of_labels(y: np.ndarray, bags: Any) -> tuple[np.ndarray, Bags]:
    """Count labels within bags: the names of the classes (K,), and the bags, of which nothing but counts is kept.

    Args:
        y: labels (n,); those of rows in no bag are not read.
        bags: number or name of the bag of each row (n,), -1 for none; a membership (n_b, n); or "rows", with which each
            row is a bag of its own.

    Raises: ObservationError without bags, and where no row is in one.

    >>> names, bags = bags_of_labels(np.array(["no", "yes", "yes"]), ["a", "a", "b"])
    >>> names.tolist(), bags.counts.tolist()
    (['no', 'yes'], [1, 1])
    """
    ids = bag_numbers(bags, len(y))
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
        bags: names (n,), a membership (n_b, n), or `Bags`.
        counts: by name, or see `Bags.from_ids`.
        proportions: the same over the sizes.
        noise: of the counts; None where they are exact.
        where: the method that was called, for errors.
        n_trials: how many members were counted, if not all, by name as the counts, or one number.

    Raises: ObservationError for bags of other rows, for counts that cannot be, alone or together, and for counts or a
        noise beside `Bags`.

    >>> counted_bags(3, [0, 0, 0], [[1, 2]], None, None, "fit_bags").counts.tolist()
    [2]
    >>> counted_bags(3, ["b", "a", "a"], {"a": 1, "b": 0}, None, None, "fit_bags").counts.tolist()
    [0, 1]
    """
    check_rows_of_bags(bags, n_rows, where)
    if isinstance(bags, Bags):
        _refuse_beside(bags, counts, proportions, noise, n_trials, where)
    else:
        given = {"counts": counts, "proportions": proportions, "n_trials": n_trials}
        bags, told, names = bags_by_name(bags, n_rows, given, where)
        try:
            bags = _made(bags, **told, noise=noise)
        except ObservationError as error:
            if names is None or not hasattr(error, "bag"):
                raise
            name = names[error.bag]
            raise ObservationError(f"{error} Bag {error.bag} is the one named {name!r}.", bag=name) from error
    bags = bags_of_class(bags, 1) if bags.counts.shape[1:] == (2,) else bags
    check_consistent(bags, where)
    return bags


def _made(bags: Any, counts: Any, proportions: Any, n_trials: Any, noise: Any) -> Bags:
    """Make bags of numbers or a membership."""
    if n_trials is not None:
        counts, proportions, noise = _sampled_counts(counts, proportions, noise, n_trials)
    make = Bags.from_ids if not issparse(bags) and np.ndim(bags) == 1 else Bags.from_membership
    return make(bags, counts, proportions=proportions, noise=noise)


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
