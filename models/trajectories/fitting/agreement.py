"""Agreement of two labelings, whatever the names of the classes.

Law: accuracy and kappa are maxima over permutations of the labels, so renaming either labeling changes nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from lawful.errors import LawfulError

__all__ = ["accuracy", "entropy_index", "kappa", "unsureness"]


def accuracy(labels: Any, others: Any) -> float:
    """Give the largest share of persons on whom two labelings agree (n,), (n,).

    >>> accuracy([0, 0, 1, 1], ["b", "b", "a", "b"])
    0.75
    """
    return float(_matched(labels, others)[0].sum() / np.size(labels))


def kappa(labels: Any, others: Any) -> float:
    """Give Cohen's kappa after the best renaming: agreement beyond chance.

    >>> kappa([0, 0, 1, 1], [1, 1, 0, 1])
    0.5
    """
    agreed, rows, columns = _matched(labels, others)
    chance = float(rows @ columns)
    return float((agreed.sum() / np.size(labels) - chance) / (1 - chance)) if chance < 1 else 1.0


def entropy_index(memberships: np.ndarray) -> float:
    """Give `1 - sum_ik -w_ik log w_ik / (n log K)` of memberships (n, K); NaN for one class.

    >>> entropy_index(np.eye(2)), entropy_index(np.full((3, 2), 0.5))
    (1.0, 0.0)
    """
    n, k = memberships.shape
    return float(1.0 - unsureness(memberships) / (n * np.log(k))) if k > 1 else float("nan")


def unsureness(memberships: np.ndarray) -> float:
    """Give `sum_ik -w_ik log w_ik`, with 0 log 0 = 0."""
    return float(-np.sum(memberships * np.log(np.where(memberships > 0, memberships, 1.0))))


def _named(labels: Any) -> tuple[np.ndarray, np.ndarray]:
    given = np.asarray(labels)
    lost = np.array([label is None or label != label for label in given.reshape(-1).tolist()], bool)
    if given.ndim != 1 or not given.size or lost.any():
        what = f"{int(lost.sum())} missing" if lost.any() else f"of shape {given.shape}"
        raise LawfulError(f"labels: {what}, expected one a person (n,). Fix: leave out persons whose class is unknown.")
    names, which = np.unique(given, return_inverse=True)
    return names, which


def _matched(labels: Any, others: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts of agreement under the best renaming, and shares of the matched classes of both.

    Of renamings that agree as often the one with the least agreement by chance is taken, so that names decide nothing.
    """
    (one, a), (two, b) = _named(labels), _named(others)
    if len(a) != len(b):
        raise LawfulError(f"labels: {len(a)} persons and {len(b)}. Fix: give one label a person, in one order.")
    size = max(len(one), len(two))
    table = np.zeros((size, size))
    np.add.at(table, (a, b), 1.0)
    chance = np.outer(table.sum(axis=1), table.sum(axis=0)) / len(a) ** 2  # sums to less than a count along a renaming
    rows, columns = linear_sum_assignment(0.5 * chance - table)
    return table[rows, columns], table.sum(axis=1)[rows] / len(a), table.sum(axis=0)[columns] / len(a)
