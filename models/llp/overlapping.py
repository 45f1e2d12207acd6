"""Most probable labels where bags overlap: an integer program, solved by branch and bound.

Law: labels are columns of zeros and ones that add up to one for each row; a count is a sum of them, a noisy count a
choice among counts with their log weights, and a pair of neighbours a table with the two labels as its margins. All of
it is linear, so the score of the labels and an upper bound of all scores come from one program.

Reference: Huangfu and Hall (2018), Parallelizing the dual revised simplex method, for the solver (HiGHS).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix, csr_matrix, hstack, identity, kron, vstack

from lawful.errors import LawfulError, ObservationError

from .bags import Bags
from .coupling import Coupling

__all__ = ["Programmed", "programmed"]

SECONDS = 60.0  # that the search may take


class Programmed(NamedTuple):
    """Labels (n,), their score, and a bound that no labels have a larger score than."""

    labels: np.ndarray
    log_score: float
    bound: float


def programmed(scores: np.ndarray, bags: Bags, coupling: Coupling | None = None) -> Programmed:
    """Find the most probable labels.

    Args:
        scores: normalised log scores of the classes (n, K).
        bags: bags that may overlap.
        coupling: neighbours; None for none.

    Raises: ObservationError where no labels meet all counts; LawfulError where none were found in a minute.

    >>> bags = Bags.from_membership([[1, 1, 0], [0, 1, 1]], counts=[1, 1])
    >>> programmed(np.log([[0.4, 0.6], [0.4, 0.6], [0.3, 0.7]]), bags).labels.tolist()  # 0 and 2, or 1 alone
    [1, 0, 1]
    """
    n, classes = scores.shape
    tables = np.zeros((0, classes, classes)) if coupling is None else coupling.log_table
    edges = np.zeros((0, 2), int) if coupling is None else np.asarray(coupling.edges)
    tables = np.broadcast_to(tables, (len(edges), classes, classes))
    counted = _counted(bags, n, classes)
    sizes = n * classes, counted.weights.size, tables.size
    worth = np.concatenate([scores.reshape(-1), counted.weights, tables.reshape(-1)])
    rows = [
        (hstack([kron(identity(n), np.ones((1, classes))), _none(n, sizes[1] + sizes[2])]), np.ones(n)),
        (hstack([counted.members, counted.choices, _none(len(counted.sums), sizes[2])]), counted.sums),
        _margins(edges, n, classes, sizes[1]),
    ]
    possible = worth > -np.inf
    found = milp(
        -np.where(possible, worth, 0),
        constraints=[LinearConstraint(csr_matrix(matrix), right, right) for matrix, right in rows if len(right)],
        integrality=np.arange(len(worth)) < sizes[0] + sizes[1],
        bounds=Bounds(0, possible.astype(float)),
        options={"time_limit": SECONDS, "mip_rel_gap": 1e-9},
    )
    if found.x is None:
        if found.status == 2:
            raise ObservationError(
                "transduce: bags overlap, and no labels of the rows meet all counts. Fix: look up counts and members, "
                "or give count_noise=."
            )
        raise LawfulError(f"transduce: no labels were found in {SECONDS:g} s. Fix: kind='marginal'.")
    labels = np.argmax(found.x[: sizes[0]].reshape(n, classes), axis=1)
    agreed = tables[np.arange(len(edges)), labels[edges[:, 0]], labels[edges[:, 1]]].sum()
    score = float(
        scores[np.arange(n), labels].sum() + agreed + counted.weights @ found.x[sizes[0] : sizes[0] + sizes[1]]
    )
    return Programmed(labels, score, max(score, -float(found.mip_dual_bound)))


class _Counts(NamedTuple):
    """Equations of the counts: of members (m, n K), of choices among noisy counts (m, u), and the sums (m,).

    The choices have log weights (u,).
    """

    members: Any
    choices: Any
    sums: np.ndarray
    weights: np.ndarray


def _counted(bags: Bags, n: int, classes: int) -> _Counts:
    known = bags.take(bags.known & (bags.sizes > 0))
    within = known.membership.astype(float)
    if known.noise is None:
        counts = (
            known.counts if known.counts.ndim == 2 else np.stack([known.sizes - known.counts, known.counts], axis=1)
        )
        members = [kron(within, _one(k, classes)) for k in range(1, classes)]
        sums = counts[:, 1:].T.reshape(-1).astype(float)
        return _Counts(vstack(members), _none(len(sums), 0), sums, np.zeros(0))
    weights = known.log_weights() if known.n_bags else np.zeros((0, 1))
    bag, number = np.nonzero(weights > -np.inf)
    at, size = np.arange(len(bag)), (known.n_bags, len(bag))
    members = vstack([kron(within, _one(1, classes)), _none(known.n_bags, n * classes)])
    choices = vstack(
        [coo_matrix((-number.astype(float), (bag, at)), size), coo_matrix((np.ones(len(bag)), (bag, at)), size)]
    )
    return _Counts(members, choices, np.repeat([0.0, 1.0], known.n_bags), weights[bag, number])


def _margins(edges: np.ndarray, n: int, classes: int, between: int) -> tuple[Any, np.ndarray]:
    """Say that the table of each pair has the labels of its two rows as margins."""
    pairs, ones = len(edges), np.ones((1, classes))
    if not pairs:
        return _none(0, n * classes + between), np.zeros(0)
    ends = [coo_matrix((np.ones(pairs), (np.arange(pairs), edges[:, side])), (pairs, n)) for side in (0, 1)]
    sums = [kron(identity(classes), ones), kron(ones, identity(classes))]  # over the second label, over the first
    blocks = [
        hstack([kron(end, -identity(classes)), _none(pairs * classes, between), kron(identity(pairs), each)])
        for end, each in zip(ends, sums, strict=True)
    ]
    return vstack(blocks), np.zeros(2 * pairs * classes)


def _one(k: int, classes: int) -> np.ndarray:
    return np.eye(classes)[[k]]


def _none(rows: int, columns: int) -> csr_matrix:
    return csr_matrix((rows, columns))
