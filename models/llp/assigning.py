"""Assigning: the most probable labels of bags whose rows are independent given their log odds, exactly.

Law: those of a bag are its S rows of largest log odds; for K classes they solve an assignment problem.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment

from lawful.inference.graphs import counts as counting

from .bags import Bags

__all__ = ["assigned"]


def assigned(z: np.ndarray, bags: Bags) -> np.ndarray:
    """Give the most probable class of each row, given all counts (n,).

    Args:
        z: log odds (n,), or log scores of the classes (n, K).
        bags: bags that do not overlap; a row in none has its own most probable class.

    >>> assigned(np.array([2.0, 1.0, 3.0]), Bags.from_ids([0, 0, 0], counts=[2])).tolist()
    [1, 0, 1]
    """
    if z.ndim == 2:
        return _by_class(z, bags)
    found = (z > 0).astype(int)
    for chosen in bags.size_classes:
        rows = bags.padded(chosen)
        h = jnp.append(jnp.asarray(z), -jnp.inf)[rows]
        best = np.asarray(counting.best_assignment(h, jnp.asarray(bags.log_weights(chosen), h.dtype)).assignment)
        found[rows[rows < bags.n_rows]] = best[rows < bags.n_rows]
    return found


def _by_class(z: np.ndarray, bags: Bags) -> np.ndarray:
    found = np.argmax(z, axis=1)
    for bag in np.flatnonzero(bags.known):  # an assignment problem each
        rows = bags.members_of(int(bag))
        places = np.repeat(np.arange(bags.n_classes), bags.counts[bag])
        members, chosen = linear_sum_assignment(-np.maximum(z[rows][:, places], -1e30))
        found[rows[members]] = places[chosen]
    return found
