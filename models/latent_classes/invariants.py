"""What draws of memberships say whatever the names of the classes.

Law: each is a function of the memberships of a draw that no renaming of its classes changes, averaged over draws; given
the parameters persons belong to classes independently, so pairs and counts of classes are exact, not simulated.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from lawful.errors import LawfulError

from .relabelling import Relabelled

__all__ = ["co_membership", "membership_interval", "occupied_classes", "tails"]

MOST_CLASSES = 12  # 2^K subsets are visited
MOST_PERSONS = 10_000  # of whom all pairs are held: 0.8 GB


def co_membership(memberships: np.ndarray) -> np.ndarray:
    """Give the probability that two persons belong to one class (n, n), 1 on the diagonal.

    Args:
        memberships: probability of each class for each person in each draw (D, n, K).

    Raises: LawfulError for more than 10,000 persons.

    >>> co_membership(np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])).tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """
    draws, n, _ = memberships.shape
    if n > MOST_PERSONS:
        raise LawfulError(
            f"co_membership: {n} persons have {n**2} pairs; at most {MOST_PERSONS} persons are compared. Fix: give "
            "some of them."
        )
    flat = memberships.transpose(1, 0, 2).reshape(n, -1)
    found: np.ndarray = flat @ flat.T / draws
    np.fill_diagonal(found, 1.0)
    return found


def occupied_classes(memberships: np.ndarray) -> np.ndarray:
    """Give the probabilities that 1, 2, ..., K classes have a person (K,).

    That all persons lie in a set of classes has probability prod_i sum_(k in set) w_ik; inclusion and exclusion over
    subsets give the probability that exactly these are occupied.

    Args:
        memberships: probability of each class for each person in each draw (D, n, K).

    Raises: LawfulError for more than 12 classes.

    >>> occupied_classes(np.array([[[0.5, 0.5], [0.5, 0.5]]])).tolist()
    [0.5, 0.5]
    """
    k = memberships.shape[2]
    if k > MOST_CLASSES:
        raise LawfulError(
            f"occupied_classes: {k} classes have {2**k} subsets; at most {MOST_CLASSES} are visited. Fix: take fewer."
        )
    within: dict[frozenset[int], float] = {}
    for size in range(1, k + 1):
        for subset in combinations(range(k), size):
            share = np.clip(memberships[:, :, list(subset)].sum(axis=2), 0.0, 1.0)
            with np.errstate(divide="ignore"):
                within[frozenset(subset)] = float(np.exp(np.log(share).sum(axis=1)).mean())
    found = np.zeros(k)
    for whole in within:
        inner = [frozenset(part) for size in range(1, len(whole) + 1) for part in combinations(sorted(whole), size)]
        found[len(whole) - 1] += sum((-1) ** (len(whole) - len(part)) * within[part] for part in inner)
    return np.clip(found, 0.0, 1.0)


def membership_interval(memberships: np.ndarray, names: Relabelled, level: float = 0.95) -> np.ndarray:
    """Give the central interval of each person's probability of each class over draws (n, K, 2), after renaming.

    >>> from .relabelling import relabelled
    >>> w = np.array([[[0.9, 0.1]], [[0.3, 0.7]], [[0.8, 0.2]]])
    >>> membership_interval(w, relabelled(w), 0.5).round(2).tolist()
    [[[0.75, 0.85], [0.15, 0.25]]]
    """
    rows = np.arange(len(memberships))
    columns = [
        np.quantile(memberships[rows, :, names.order[:, j]], tails(level), axis=0).T
        for j in range(memberships.shape[2])
    ]
    return np.stack(columns, axis=1)


def tails(level: float) -> tuple[float, float]:
    """Give the probabilities that a central interval lies between.

    Raises: LawfulError where the level is no probability.

    >>> tails(0.5)
    (0.25, 0.75)
    """
    if not 0.0 < level < 1.0:
        raise LawfulError(f"interval: level={level!r}, expected a probability. Fix: give 0.95, say.")
    return 0.5 * (1.0 - level), 0.5 * (1.0 + level)
