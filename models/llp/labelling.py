"""Labelling: what logits, counts and neighbours together say of each row.

Law: P(y | X, counts) is that of `llp_program`, whose factor graph messages run on. Without neighbours, where bags do
not overlap, the answer is exact, by the numerics of counts bag by bag: the graph gives the same, and to read it off the
program takes more than twice as long (23 to 42 ms beside 9 to 14 for 20,000 rows), so tests hold the two together.
Otherwise it is that of belief propagation, with its verdict; one that oscillates is never taken for an answer: the
coupling is halved and the run repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.inference.graphs import Beliefs, FactorGraph, propagated, to_factor_graph

from .bags.bags import Bags
from .labels.likelihood import checked_logits, count_log_likelihood, posterior_given_counts
from .neighbours.coupling import Coupling
from .program import llp_program

__all__ = ["Labelling", "label_graph", "labelled"]

HALVINGS = 3
BROKEN = ("oscillating", "nonfinite")


@dataclass(frozen=True, eq=False)
class Labelling:
    """Soft labels of all rows, and how they were found.

    Attributes:
        posterior: P(y_i = 1) (n,), or probabilities of the classes (n, K).
        log_z: log of the mean of all factors under the learner's law; see `log_z_kind`.
        log_z_kind: "exact", or "bethe" where messages went around.
        verdict: how the run ended: "exact", "converged", "slow", "oscillating", "infeasible" or "nonfinite".
        residual: the largest change that one more sweep would make in a message.
        iterations: sweeps of the last run.
        strength: r of the coupling in the end; 0 without.
        kappa: the spectral radius of its gains in the end.
        tried: kappa and verdict of each run, in order.
        count_error: largest difference of the sum of a bag's posterior from its count, where counts are exact.
        beliefs: the answer of belief propagation, for a warm start; None where it was not needed.
    """

    posterior: np.ndarray
    log_z: float
    log_z_kind: str
    verdict: str
    residual: float
    iterations: int
    strength: Any
    kappa: float
    tried: tuple[tuple[float, str], ...]
    count_error: float
    beliefs: Beliefs | None = None

    @property
    def usable(self) -> bool:
        """Whether a learner may be fitted to it: it has not oscillated, and every number is finite."""
        return self.verdict in ("exact", "converged", "slow")


def labelled(
    z: Any,
    bags: Bags,
    coupling: Coupling | None = None,
    *,
    damping: float = 0.5,
    max_iters: int = 100,
    tol: float | None = None,
    init: Beliefs | None = None,
) -> Labelling:
    """Give soft labels of all rows.

    Args:
        z: logits of the rows (n,), or log scores of the classes (n, K) where counts are of classes.
        bags: the bags and their counts.
        coupling: neighbours, from `coupled`; None or a strength of 0 for none.
        damping: share of the old message in the new one.
        max_iters: largest number of sweeps.
        tol: the residual at which messages have settled; default 1e-4 in float32, 1e-9 in float64.
        init: the `beliefs` of an earlier labelling of the same rows, bags and neighbours, as a start.

    Returns: the labels with their verdict. Where messages oscillate, kappa is halved, at most three times, and then
        neighbours are left out.

    Raises: ObservationError for logits or neighbours that do not fit; see `count_log_likelihood`.

    >>> bags = Bags.from_ids([0, 0, 1, 1], [1, 1])
    >>> found = labelled(np.array([1.0, 0.0, 0.0, 0.0]), bags)
    >>> found.verdict, found.posterior.round(3).tolist()
    ('exact', [0.731, 0.269, 0.5, 0.5])
    >>> from lawful.models.llp.neighbours.coupling import coupled
    >>> near = coupled(np.array([[0, 2]]), 4, bags.base_rate)  # the neighbour of the likelier one
    >>> labelled(np.array([1.0, 0.0, 0.0, 0.0]), bags, near).posterior.round(3).tolist()
    [0.731, 0.269, 0.708, 0.292]
    """
    z = checked_logits(z, bags)
    pairs = coupling is not None and len(coupling.edges) > 0 and bool(np.any(np.asarray(coupling.strength) != 0))
    if not pairs and not bags.overlapping:
        return _exact(z, bags, ())
    if not pairs or coupling is None:
        coupling = Coupling(np.zeros((0, 2), np.int64), 0.0, None, 0.0)
    tried: list[tuple[float, str]] = []
    for halving in range(HALVINGS + 1):
        found = propagated(
            label_graph(z, bags, coupling), damping=damping, max_iters=max_iters, tol=tol,
            init=None if halving else init, certify=False, factors=False,
        )  # fmt: skip
        tried.append((coupling.kappa, found.verdict))
        if found.verdict not in BROKEN or not pairs:
            return _read(bags, found, np.asarray(coupling.strength, float), coupling.kappa, tried)
        # Half the strength has less than half the gain, so kappa is at most halved as well.
        strength, kappa = np.asarray(coupling.strength, float) / 2, coupling.kappa / 2
        coupling = Coupling(coupling.edges, strength, coupling.base_rate, kappa)
    if bags.overlapping:
        return labelled(z, bags, None, damping=damping, max_iters=max_iters, tol=tol)
    return _exact(z, bags, tuple(tried))


def label_graph(z: Any, bags: Bags, coupling: Coupling | None = None) -> FactorGraph:
    """Read the factor graph off the program: variables "y" (n,), pairs "near", and the counts of bags.

    Args:
        z: as for `labelled`.
        bags: as for `labelled`.
        coupling: as for `labelled`.

    Raises: ObservationError for neighbours that are no rows.

    >>> from lawful.models.llp.neighbours.coupling import coupled
    >>> bags = Bags.from_ids([0, 0, 1, 1], [1, 1])
    >>> label_graph(np.zeros(4), bags, coupled(np.array([[0, 2]]), 4, 0.5))
    FactorGraph(6 variables, 7 factors, 2 counts)
    """
    z = checked_logits(z, bags)
    # Counts of any size are counts, never tables, and tests compare the graph with the program.
    graph = to_factor_graph(_program(bags, coupling), z, count_from=1, check=False)
    one_type = jax.tree.map(lambda x: x if x.dtype == z.dtype else x.astype(z.dtype), graph.potentials)
    return graph.replace(one_type)  # in the precision of the log odds


@lru_cache(maxsize=1)
def _program(bags: Bags, coupling: Coupling | None) -> Any:
    """Give the program of these very bags and neighbours, which is traced once for all rounds of a fit."""
    return partial(llp_program, bags=bags, coupling=coupling)


def _exact(z: Any, bags: Bags, tried: tuple[tuple[float, str], ...]) -> Labelling:
    """Rows that are independent given the counts."""
    posterior = np.asarray(posterior_given_counts(z, bags, approximate=True))
    log_z = float(jnp.sum(count_log_likelihood(z, bags, approximate=True)))
    verdict = "exact" if np.isfinite(log_z) else "infeasible"
    error = _count_error(posterior, bags)
    return Labelling(posterior, log_z, "exact", verdict, 0.0, 0, 0.0, 0.0, (*tried, (0.0, verdict)), error)


def _read(bags: Bags, found: Beliefs, strength: np.ndarray, kappa: float, tried: list[tuple[float, str]]) -> Labelling:
    """Take what is wanted of the answer of belief propagation."""
    beliefs = np.asarray(found.beliefs["y"])
    posterior = beliefs[:, 1] if bags.counts.ndim == 1 else beliefs
    return Labelling(
        posterior, float(found.log_z), found.log_z_kind, found.verdict,
        float(found.info["residual"]), int(found.info["iterations"]), strength if strength.ndim else float(strength),
        kappa, tuple(tried), _count_error(posterior, bags), found,
    )  # fmt: skip


def _count_error(posterior: np.ndarray, bags: Bags) -> float:
    """Give the largest difference of sums and counts; NaN where counts are noisy."""
    if bags.noise is not None:
        return float("nan")
    chosen = bags.known & (bags.sizes > 0)
    sums = np.asarray(bags.membership.astype(float) @ posterior.astype(float))
    return float(np.max(np.abs(sums - bags.counts)[chosen], initial=0.0))
