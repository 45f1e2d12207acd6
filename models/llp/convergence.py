"""Convergence of messages between neighbours and counts, sweep by sweep.

Law: sweeps that are made one at a time, each from the messages of the last, are those of one run, so the residuals are
the ones that its verdict was read from.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lawful.errors import ObservationError
from lawful.inference.graphs import propagated

from .bags.bags import Bags
from .labelling import label_graph
from .neighbours.coupling import Coupling

__all__ = ["message_residuals"]


def message_residuals(
    z: Any, bags: Bags, coupling: Coupling, *, damping: float = 0.5, sweeps: int = 100, tol: float = 0.0
) -> np.ndarray:
    """Give the residual after each sweep of the messages that `labelled` sends, at the strength of the coupling.

    Args:
        z: log odds of the rows (n,), or log scores of the classes (n, K).
        bags: the bags and their counts.
        coupling: neighbours, such as `coupling_` of a classifier.
        damping: share of the old message in the new one.
        sweeps: how many at most.
        tol: the residual at which to stop.

    Returns: the largest change that one more sweep would make in a message (sweeps,), or fewer where it stopped.

    Raises: ObservationError for no sweeps; otherwise as `labelled`.

    >>> from lawful.models.llp.neighbours.coupling import coupled
    >>> bags = Bags.from_ids([0, 0, 1, 1], [1, 1])
    >>> found = message_residuals(np.array([1.0, 0.0, 0.0, 0.0]), bags, coupled(np.array([[0, 2]]), 4, 0.5), sweeps=9)
    >>> len(found), bool(found[-1] < found[0] / 10)
    (9, True)
    """
    if sweeps < 1:
        raise ObservationError(f"message_residuals: sweeps={sweeps}. Fix: give 1 or more.")
    graph, found, residuals = label_graph(z, bags, coupling), None, list[float]()
    while len(residuals) < sweeps and not (residuals and residuals[-1] <= tol):
        found = propagated(graph, damping=damping, max_iters=1, tol=0.0, init=found, certify=False, factors=False)
        residuals.append(float(found.info["residual"]))
    return np.array(residuals)
