"""Labelling: what logits, counts and neighbours together say of each row.

Law: P(y | X, counts) is proportional to prod_i exp(z_i y_i) prod_b f_b(sum_{i in b} y_i) prod_ij psi(y_i, y_j). Without
neighbours, where bags do not overlap, the answer is exact. Otherwise it is that of belief propagation, with its
verdict; one that oscillates is never taken for an answer: the coupling is halved and the run repeated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from lawful.errors import ObservationError
from lawful.inference.graphs import Beliefs, FactorGraph, Potentials, propagated

from ..bags.bags import Bags
from ..neighbours.coupling import Coupling, log_agreement
from .likelihood import checked_logits, count_log_likelihood, posterior_given_counts

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
        coupling = Coupling(np.zeros((0, 2), np.int64), 0.0, np.full(bags.n_classes, 1 / bags.n_classes), 0.0)
    graph = label_graph(z, bags, coupling)
    tables, strength, kappa = graph.potentials.tables, np.asarray(coupling.strength, float), coupling.kappa
    tried: list[tuple[float, str]] = []
    for halving in range(HALVINGS + 1):
        found = propagated(
            graph.replace(Potentials(graph.potentials.unary, tables)) if halving else graph,
            damping=damping, max_iters=max_iters, tol=tol, init=None if halving else init, certify=False, factors=False,
        )  # fmt: skip
        tried.append((kappa, found.verdict))
        if found.verdict not in BROKEN or not pairs:
            return _read(z, bags, found, strength, kappa, tried)
        # Half the strength has less than half the gain, so kappa is at most halved as well.
        strength, kappa = np.asarray(strength / 2), kappa / 2
        tables = (_table(strength, coupling, z.dtype).reshape(tables[0].shape),)
    if bags.overlapping:
        return labelled(z, bags, None, damping=damping, max_iters=max_iters, tol=tol)
    return _exact(z, bags, tuple(tried))


def label_graph(z: Any, bags: Bags, coupling: Coupling) -> FactorGraph:
    """Write the measure as a factor graph: variables "y" (n,), pairs "near", and the counts of bags.

    Args:
        z: as for `labelled`.
        bags: as for `labelled`. Counts of K classes are K - 1 counts, the most common class being what is left.
        coupling: as for `labelled`.

    Raises: ObservationError for neighbours that are no rows.

    >>> from lawful.models.llp.neighbours.coupling import coupled
    >>> bags = Bags.from_ids([0, 0, 1, 1], [1, 1])
    >>> label_graph(np.zeros(4), bags, coupled(np.array([[0, 2]]), 4, 0.5))
    FactorGraph(6 variables, 1 factors, 2 counts)
    """
    z = checked_logits(z, bags)
    edges = np.asarray(coupling.edges)
    if edges.size and (edges.min() < 0 or edges.max() >= bags.n_rows):
        raise ObservationError(f"labelling: neighbours are rows {edges.min()} to {edges.max()} of {bags.n_rows} rows.")
    graph = FactorGraph()
    scores = jnp.stack([jnp.zeros_like(z), z], axis=1) if z.ndim == 1 else z
    y = graph.variables("y", (bags.n_rows,), bags.n_classes, scores)
    if len(edges):
        graph.factors("near", [y[edges[:, 0]], y[edges[:, 1]]], _table(coupling.strength, coupling, z.dtype))
    # A bag without a known count says nothing, and stays: one compiled program serves any choice of known bags. Where
    # bags overlap it would close cycles that are none.
    held = bags.take((bags.sizes > 0) & (bags.known | (not bags.overlapping)))
    states = [1] if bags.counts.ndim == 1 else _all_but_the_most_common(held)
    for state in states:
        part = held if bags.counts.ndim == 1 else replace(held, counts=held.counts[:, state])
        for number, chosen in enumerate(part.size_classes):
            own = part.take(chosen)
            weights = jnp.asarray(own.log_weights(), z.dtype)
            graph.count(f"count {state} {number}", y[own.members], weights, bags=own.owners, state=state)
    return graph


def _all_but_the_most_common(bags: Bags) -> list[int]:
    most = int(np.argmax(bags.counts.sum(axis=0)))
    return [k for k in range(bags.n_classes) if k != most]


def _table(strength: Any, coupling: Coupling, dtype: Any) -> Any:
    """Give log psi (K, K), or of each edge (E, K, K), in the type of the logits."""
    return jnp.asarray(log_agreement(strength, coupling.base_rate), dtype)


def _exact(z: Any, bags: Bags, tried: tuple[tuple[float, str], ...]) -> Labelling:
    """Rows that are independent given the counts."""
    posterior = np.asarray(posterior_given_counts(z, bags, approximate=True))
    log_z = float(jnp.sum(count_log_likelihood(z, bags, approximate=True)))
    verdict = "exact" if np.isfinite(log_z) else "infeasible"
    error = _count_error(posterior, bags)
    return Labelling(posterior, log_z, "exact", verdict, 0.0, 0, 0.0, 0.0, (*tried, (0.0, verdict)), error)


def _read(
    z: Any, bags: Bags, found: Beliefs, strength: np.ndarray, kappa: float, tried: list[tuple[float, str]]
) -> Labelling:
    """Take what is wanted of the answer of belief propagation."""
    beliefs = np.asarray(found.beliefs["y"])
    posterior = beliefs[:, 1] if bags.counts.ndim == 1 else beliefs
    free = np.logaddexp(0, np.asarray(z, float)) if z.ndim == 1 else np.logaddexp.reduce(np.asarray(z, float), axis=1)
    return Labelling(
        posterior, float(found.log_z) - float(free.sum()), found.log_z_kind, found.verdict,
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
