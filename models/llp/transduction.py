"""Transduction: labels of rows whose bags were counted, most probable or drawn, with exactly the reported counts.

Law: with rows independent given their log odds, the most probable labels of a bag are its S rows of largest log odds;
for K classes they solve an assignment problem. Draws have the law of the labels given the count.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment

from lawful.errors import LawfulError
from lawful.inference.numerics import counts as counting

from .bags import Bags

__all__ = ["drawn_labels", "most_probable_labels"]


def most_probable_labels(z: np.ndarray, bags: Bags) -> np.ndarray:
    """Give the most probable class of each row, given all counts (n,).

    Args:
        z: log odds (n,), or log scores of the classes (n, K).
        bags: bags that do not overlap; a row in none has its own most probable class.

    Raises: LawfulError where bags overlap.

    >>> most_probable_labels(np.array([2.0, 1.0, 3.0]), Bags.from_ids([0, 0, 0], counts=[2])).tolist()
    [1, 0, 1]
    """
    _refuse_overlaps(bags)
    if z.ndim == 2:
        return _assigned(z, bags)
    found = (z > 0).astype(int)
    for chosen in bags.size_classes:
        rows = bags.padded(chosen)
        h = jnp.append(jnp.asarray(z), -jnp.inf)[rows]
        best = np.asarray(counting.best_assignment(h, jnp.asarray(bags.log_weights(chosen), h.dtype)).assignment)
        found[rows[rows < bags.n_rows]] = best[rows < bags.n_rows]
    return found


def drawn_labels(z: np.ndarray, bags: Bags, rng: Any) -> np.ndarray:
    """Draw the labels of all rows given all counts (n,), exactly.

    Args:
        z: log odds (n,).
        bags: bags that do not overlap, with counts of ones.
        rng: with a method `random` of a shape, as of NumPy's generators.

    Raises: LawfulError where bags overlap, or have counts of classes.

    >>> bags = Bags.from_ids([0, 0, 0], counts=[2])
    >>> int(drawn_labels(np.zeros(3), bags, np.random.default_rng(0)).sum())
    2
    """
    _refuse_overlaps(bags)
    if z.ndim == 2:
        raise LawfulError("labels of several classes are not drawn. Fix: kind='marginal' or kind='map'.")
    found = (rng.random(len(z)) < 1 / (1 + np.exp(-z))).astype(int)
    for chosen in bags.size_classes:
        rows = bags.padded(chosen)
        h = jnp.append(jnp.asarray(z), -jnp.inf)[rows]
        u = jnp.asarray(rng.random((len(rows), counting.uniforms_needed(rows.shape[1]))), h.dtype)
        ones = np.asarray(counting.push_members(u, h, jnp.asarray(bags.log_weights(chosen), h.dtype)))
        found[rows[rows < bags.n_rows]] = ones[rows < bags.n_rows]
    return found


def _assigned(z: np.ndarray, bags: Bags) -> np.ndarray:
    found = np.argmax(z, axis=1)
    for bag in np.flatnonzero(bags.known):  # an assignment problem each
        rows = bags.members_of(int(bag))
        places = np.repeat(np.arange(bags.n_classes), bags.counts[bag])
        members, chosen = linear_sum_assignment(-np.maximum(z[rows][:, places], -1e30))
        found[rows[members]] = places[chosen]
    return found


def _refuse_overlaps(bags: Bags) -> None:
    if bags.overlapping:
        raise LawfulError("bags overlap, so their labels are not chosen bag by bag. Fix: kind='marginal'.")
