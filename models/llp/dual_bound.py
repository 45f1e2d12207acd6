"""An upper bound of the score of all labels, by giving bags and neighbours a share each of what is known of a row.

Law: for any numbers moved from the edges to the rows, the best score of each bag plus the best score of each edge is at
least the best score of all labels. The least such bound is that of the linear relaxation; a smoothed one is followed
downwards, and the best exact one on the way is returned, so that it is a bound wherever the search ends.

Reference: Sontag, Globerson and Jaakkola (2011), Introduction to dual decomposition for inference.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from .assigning import assigned
from .bags import Bags
from .fields import Joint
from .likelihood import count_score

__all__ = ["Bound", "dual_bound"]

WARMTHS = (1.0, 0.3, 0.1, 0.03)  # of the smoothed maxima
STEPS = 30  # for each


class Bound(NamedTuple):
    """The bound, and labels that are best where it is found (n,)."""

    value: float
    labels: np.ndarray


def dual_bound(joint: Joint, bags: Bags, *, steps: int = STEPS) -> Bound:
    """Bound the score of labels from above.

    Args:
        joint: the measure.
        bags: the same bags.
        steps: of each search.

    >>> from lawful.models.llp.fields import joint_of
    >>> bags = Bags.from_ids([0, 0], [1])
    >>> round(dual_bound(joint_of(np.zeros(2), bags), bags).value, 4)
    -1.3863
    """
    scores, edges, tables = (np.asarray(each, float) for each in (joint.scores, joint.edges, joint.tables))
    edges = edges.astype(np.int64)
    n, classes = scores.shape
    shape = (2, len(edges), classes)

    def moved(given: np.ndarray) -> np.ndarray:
        rows = edges.T.reshape(-1)
        each = [np.bincount(rows, given[..., k].reshape(-1), n) for k in range(classes)]
        return scores + np.stack(each, axis=1)

    def left(given: np.ndarray) -> np.ndarray:
        return tables - given[0][:, :, None] - given[1][:, None, :]

    def exact(given: np.ndarray) -> Bound:
        own = moved(given)
        labels = assigned(_logits(own), bags)
        return Bound(
            float(own[np.arange(n), labels].sum() + _weight(bags, labels) + left(given).max(axis=(1, 2)).sum()), labels
        )

    def smooth(flat: np.ndarray, warmth: float) -> tuple[float, np.ndarray]:
        given = flat.reshape(shape)
        own, tilted = moved(given) / warmth, left(given) / warmth
        told = count_score(jnp.asarray(_logits(own)), bags)
        chance = np.exp(own - np.logaddexp.reduce(own, axis=1, keepdims=True))
        slope = told.slope if told.slope.ndim == 2 else np.stack([-told.slope, told.slope], axis=1)
        top = tilted.max(axis=(1, 2), keepdims=True)
        mass = np.exp(tilted - top)
        total = mass.sum(axis=(1, 2), keepdims=True)
        value = told.log_likelihood.sum() + np.logaddexp.reduce(own, axis=1).sum() + np.sum(top + np.log(total))
        law = chance + slope
        ends = np.stack([(mass / total).sum(axis=2), (mass / total).sum(axis=1)])
        return warmth * float(value), (law[edges.T] - ends).reshape(-1)

    given = np.zeros(shape)
    best = exact(given)
    if not len(edges):
        return best
    for warmth in WARMTHS:
        options = {"maxiter": steps, "maxcor": 5}
        found = minimize(smooth, given.reshape(-1), (warmth,), jac=True, method="L-BFGS-B", options=options)
        given = found.x.reshape(shape)
        here = exact(given)
        best = here if here.value < best.value else best
    return best


def _logits(scores: np.ndarray) -> np.ndarray:
    if scores.shape[1] == 2:
        return scores[:, 1] - scores[:, 0]
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


def _weight(bags: Bags, labels: np.ndarray) -> float:
    """Give the sum over bags of the log weight of the count that labels have; 0 where counts are exact and met."""
    if bags.counts.ndim == 2 or bags.noise is None:
        return 0.0
    numbers = np.asarray(bags.membership.astype(float) @ labels).astype(int)
    parts = [bags.log_weights(chosen)[np.arange(len(chosen)), numbers[chosen]] for chosen in bags.size_classes]
    return float(sum(part.sum() for part in parts))
