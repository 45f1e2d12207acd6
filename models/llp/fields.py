"""Fields: what the score of labels would be, were one of them another, while all neighbours stay.

Law: log P(y, reports) = sum_i s_i(y_i) + sum_ij log psi(y_i, y_j) + sum_b g_b, with normalised scores s. Where one row
changes from class a to b, the first two sums change by its field of b less that of a. Bags are arrays, filled up by a
row that is none. For a pair of classes all other rows stand still, so that everything is binary.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lawful.errors import LawfulError

from .bags import Bags
from .coupling import Coupling
from .likelihood import checked_logits

__all__ = ["Counted", "Joint", "fields", "joint_of", "log_score", "refuse_overlaps"]


class Counted(NamedTuple):
    """Bags of similar size.

    Attributes:
        rows: the rows of each bag, n behind the last one (G, B).
        weights: for classes 1 to K - 1, log weights of how many members are of it (K - 1, G, B + 1).
        first: the number of the first of these bags among all.
    """

    rows: Any
    weights: Any
    first: Any


class Joint(NamedTuple):
    """The measure of labels as arrays.

    Attributes:
        scores: normalised log scores of the classes (n, K).
        edges: rows that are neighbours (E, 2).
        tables: log psi, one for all edges or one for each (1 or E, K, K).
        bags: all rows, each in one bag; those in none are bags of one, of which nothing was reported.
        owners: the number of the bag of each row (n,).
    """

    scores: Any
    edges: Any
    tables: Any
    bags: tuple[Counted, ...]
    owners: Any


def joint_of(z: Any, bags: Bags, coupling: Coupling | None = None) -> Joint:
    """Write the measure as arrays.

    Args:
        z: log odds (n,), or log scores of the classes (n, K).
        bags: bags that do not overlap.
        coupling: neighbours; None for none.

    Raises: LawfulError where bags overlap.

    >>> joint_of(np.zeros(3), Bags.from_ids([0, 0, -1], [1])).owners.tolist()
    [0, 0, 1]
    """
    refuse_overlaps(bags)
    z = checked_logits(z, bags)
    scores = (
        jnp.stack([jax.nn.log_sigmoid(-z), jax.nn.log_sigmoid(z)], axis=1) if z.ndim == 1 else jax.nn.log_softmax(z)
    )
    edges = np.zeros((0, 2), np.int32) if coupling is None else np.asarray(coupling.edges, np.int32)
    table = np.zeros((bags.n_classes,) * 2) if coupling is None else coupling.log_table
    owners, found, first = np.zeros(bags.n_rows, np.int32), [], 0
    filled = [chosen[bags.sizes[chosen] > 0] for chosen in bags.size_classes]
    for chosen in [chosen for chosen in filled if len(chosen)]:
        rows = bags.padded(chosen)
        inside = rows < bags.n_rows
        owners[rows[inside]] = first + np.nonzero(inside)[0]
        found.append(Counted(rows.astype(np.int32), jnp.asarray(_weights(bags, chosen), scores.dtype), first))
        first += len(chosen)
    alone = np.flatnonzero(bags.memberships == 0)
    if len(alone):
        owners[alone] = first + np.arange(len(alone))
        nothing = jnp.zeros((bags.n_classes - 1, len(alone), 2), scores.dtype)
        found.append(Counted(alone[:, None].astype(np.int32), nothing, first))
    tables = jnp.asarray(table.reshape((-1, *table.shape[-2:])), scores.dtype)
    return Joint(scores, edges, tables, tuple(found), owners)


def fields(joint: Joint, y: Int[Array, " n"]) -> Float[Array, "n K"]:
    """Give the field of each row for each class, given the labels of its neighbours.

    >>> from lawful.models.llp.coupling import coupled
    >>> near = coupled(np.array([[0, 1]]), 2, 0.5, kappa=0.5)
    >>> joint = joint_of(np.zeros(2), Bags.from_ids([0, 0], [1]), near)
    >>> told = fields(joint, jnp.array([1, 0]))
    >>> bool(told[0, 0] > told[0, 1]), bool(told[1, 1] > told[1, 0])  # each would like the other's label
    (True, True)
    """
    first, second = joint.edges[:, 0], joint.edges[:, 1]
    at = jnp.arange(len(joint.edges)) % len(joint.tables)
    total = joint.scores.at[first].add(joint.tables[at, :, y[second]])
    return total.at[second].add(joint.tables[at, y[first], :])


@jax.jit
def log_score(joint: Joint, y: Int[Array, " n"]) -> Float[Array, ""]:
    """Give log P(y, reports) under the learner's law times the neighbours; -inf where a count is not met.

    >>> round(float(log_score(joint_of(np.zeros(2), Bags.from_ids([0, 0], [1])), jnp.array([1, 0]))), 4)
    -1.3863
    """
    first, second = joint.edges[:, 0], joint.edges[:, 1]
    at = jnp.arange(len(joint.edges)) % len(joint.tables)
    total = jnp.sum(jnp.take_along_axis(joint.scores, y[:, None], axis=1)) + jnp.sum(
        joint.tables[at, y[first], y[second]]
    )
    for bags in joint.bags:
        for k in range(1, joint.scores.shape[1]):
            number = ones_in(bags, y == k)
            total += jnp.sum(jnp.take_along_axis(bags.weights[k - 1], number[:, None], axis=1))
    return total


def ones_in(bags: Counted, marked: Any) -> Int[Array, " G"]:
    """Count the marked rows (n,) of each bag.

    >>> ones_in(Counted(np.array([[0, 2], [1, 3]]), None, 0), jnp.array([True, False, True])).tolist()
    [2, 0]
    """
    return jnp.sum(jnp.append(marked, False)[bags.rows], axis=1, dtype=jnp.int32)


def refuse_overlaps(bags: Bags) -> None:
    """Refuse bags that share rows.

    >>> refuse_overlaps(Bags.from_ids([0, 0, 1], [1, 0]))
    """
    if bags.overlapping:
        raise LawfulError("bags overlap, so their labels are not drawn bag by bag. Fix: kind='marginal' or 'map'.")


def _weights(bags: Bags, chosen: np.ndarray) -> np.ndarray:
    if bags.counts.ndim == 1:
        return bags.log_weights(chosen)[None]
    numbers = np.arange(bags.sizes[chosen].max() + 1)
    right = (numbers == bags.counts[chosen].T[1:, :, None]) | ~bags.known[chosen][None, :, None]
    return np.where(right, 0.0, -np.inf)
