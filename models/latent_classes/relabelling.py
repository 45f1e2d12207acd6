"""Relabelling: give the classes of every draw the names under which its memberships are nearest to those of all draws.

Law: names that draws had, and their order, change nothing in the outcome; classes come by decreasing mean membership.

Draws are renamed to lie nearest to a pivot in the Kullback-Leibler divergence of memberships, the pivot becomes the
mean of the renamed draws, and so on to a fixed point (Stephens 2000, Dealing with label switching in mixture models).
No constraint on the parameters is involved.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from lawful.errors import LawfulError

__all__ = ["Relabelled", "relabelled"]

ROUNDS = 100
LEAST = 1e-12  # of a membership whose logarithm is taken


class Relabelled(NamedTuple):
    """How draws are renamed.

    Attributes:
        order: which of its classes a draw has first, second, and so on (D, K).
        mean: mean memberships of the renamed draws (n, K).
        rounds: until no draw was renamed again.
        divergence: mean over draws and persons of the divergence from `mean`; large where draws disagree on classes.
    """

    order: np.ndarray
    mean: np.ndarray
    rounds: int
    divergence: float


def relabelled(memberships: np.ndarray, pivot: int = 0) -> Relabelled:
    """Find names for the classes of draws.

    Args:
        memberships: probability of each class for each person in each draw (D, n, K).
        pivot: the draw whose names come first, as that of the highest posterior density.

    Raises: LawfulError where memberships have not three axes, or no draw.

    >>> w = np.array([[[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]], [[0.2, 0.8], [0.1, 0.9], [0.7, 0.3]]])
    >>> found = relabelled(w)
    >>> found.order.tolist(), found.mean[:, 0].round(2).tolist()
    ([[0, 1], [1, 0]], [0.85, 0.85, 0.3])
    """
    if memberships.ndim != 3 or not len(memberships):
        raise LawfulError(
            f"relabelled: memberships of shape {memberships.shape}, expected (draws, persons, classes). Fix: join "
            "chains and draws into one axis."
        )
    draws, _, k = memberships.shape
    order = np.tile(np.arange(k), (draws, 1))
    centre, rounds = memberships[pivot], 0
    for rounds in range(1, ROUNDS + 1):
        new = _nearest(memberships, centre)
        same = rounds > 1 and np.array_equal(new, order)
        order, centre = new, _mean(memberships, new)
        if same:
            break
    by_size = np.argsort(-centre.mean(axis=0), kind="stable")
    order, centre = order[:, by_size], centre[:, by_size]
    spread = np.sum(_x_log(memberships, memberships)) / draws - np.sum(_x_log(centre, centre))
    return Relabelled(order, centre, rounds, float(max(spread, 0.0) / memberships.shape[1]))


def _nearest(memberships: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Give the order of the classes of each draw whose memberships are nearest to a centre (D, K)."""
    agreement = np.einsum("dil,ik->dkl", memberships, np.log(np.maximum(centre, LEAST)), optimize=True)
    return np.stack([linear_sum_assignment(-each)[1] for each in agreement])


def _mean(memberships: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Give the mean of renamed memberships."""
    k = order.shape[1]
    columns = [np.einsum("di->i", memberships[np.arange(len(order)), :, order[:, j]]) for j in range(k)]
    return np.stack(columns, axis=1) / len(order)


def _x_log(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x * np.log(np.maximum(y, LEAST))
