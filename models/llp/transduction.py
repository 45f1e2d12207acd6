"""Transduction: labels of rows whose bags were counted, most probable or drawn, with exactly the reported counts.

Law: without neighbours both are exact: the most probable labels of a bag are its S rows of largest log odds, and for K
classes they solve an assignment problem. With neighbours the most probable labels are those of the graph of labels,
counts and neighbours: an integer program where it is small or bags overlap, else the best that a search by exchanges
within bags finds, beneath an upper bound of all scores; where the two meet the labels are proved to be the most
probable. Draws are what a block Gibbs walk of so many steps, which leaves the law of the labels as it is, comes to from
a draw without neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import expit

from lawful.errors import LawfulError, ObservationError
from lawful.inference.graphs import counts as counting
from lawful.inference.graphs import draws as walk
from lawful.inference.graphs import most_probable

from .bags.bags import Bags
from .labelling import label_graph, labelled
from .labels.likelihood import count_log_likelihood
from .neighbours.coupling import Coupling

__all__ = ["MostProbable", "assigned", "check_kind", "drawn_labels", "most_probable_labels", "transduced"]

KINDS = ("marginal", "map", "sample")
SMALL = 1000  # rows times classes of a graph that is solved as an integer program


@dataclass(frozen=True, eq=False)
class MostProbable:
    """Labels, and what is known of how good they are.

    Attributes:
        labels: class of each row (n,).
        log_score: log P(labels, reports) under the learner's law times the neighbours'.
        bound: no labels have a larger score.
        started: what led to them: "counts" alone, or the solver of `lawful.inference.graphs.most_probable`.

    >>> MostProbable(np.array([1, 0]), -1.25, -1.25, "counts").proved
    True
    """

    labels: np.ndarray
    log_score: float
    bound: float
    started: str

    @property
    def proved(self) -> bool:
        """Whether the score meets the bound, to rounding."""
        return self.bound - self.log_score <= 1e-6 * max(1.0, abs(self.bound))


def transduced(kind: str, z: Any, bags: Bags, coupling: Coupling | None = None, *, seed: int = 0) -> Any:
    """Tell labels of rows, given all counts.

    Args:
        kind: "marginal" for a `Labelling`, "map" for `MostProbable` labels, "sample" for a draw (n,).
        z: log odds (n,), or log scores of the classes (n, K).
        bags: the bags; where they overlap nothing is drawn.
        coupling: neighbours; None for none.
        seed: of a draw.

    Raises: LawfulError for another kind, and for a draw where bags overlap; ObservationError for a count that infinite
        log odds exclude.

    >>> bags = Bags.from_ids([0, 0], [1])
    >>> transduced("marginal", np.zeros(2), bags).posterior.tolist(), int(transduced("sample", np.zeros(2), bags).sum())
    ([0.5, 0.5], 1)
    """
    check_kind(kind)
    _refuse_excluded(z, bags)
    if kind == "marginal":
        return labelled(z, bags, coupling)
    if kind == "map":
        return most_probable_labels(z, bags, coupling)
    return drawn_labels(z, bags, np.random.default_rng(seed), coupling)[0]


def _refuse_excluded(z: Any, bags: Bags) -> None:
    """Refuse counts that no labels have which the log odds leave possible; finite ones leave all."""
    if np.all(np.isfinite(z)):
        return
    excluded = np.flatnonzero(np.isneginf(np.asarray(count_log_likelihood(z, bags, approximate=True))))
    if len(excluded):
        bag = int(excluded[0])
        raise ObservationError(
            f"transduce: the count of bag {bag}, {bags.counts[bag]}, is impossible: infinite log odds of its rows "
            "exclude it. Fix: look at the learner that made them.",
            bag=bag,
        )


def check_kind(kind: Any) -> None:
    """Refuse kinds of labels that there are none of.

    Raises: LawfulError.

    >>> check_kind("map")
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise LawfulError(f"transduce: kind={kind!r}. Fix: give 'marginal', 'map' or 'sample'.")


def most_probable_labels(z: Any, bags: Bags, coupling: Coupling | None = None) -> MostProbable:
    """Give the most probable class of each row, given all counts.

    Args:
        z: log odds (n,), or log scores of the classes (n, K).
        bags: the bags; a row in none has its own most probable class.
        coupling: neighbours; None for none.

    Raises: ObservationError where no labels meet all counts; LawfulError where none were found in a minute.

    >>> found = most_probable_labels(np.array([2.0, 1.0, 3.0]), Bags.from_ids([0, 0, 0], counts=[2]))
    >>> found.labels.tolist(), found.proved
    ([1, 0, 1], True)
    """
    z = np.asarray(z, float)
    graph = label_graph(z, bags, coupling)
    if not bags.overlapping and not _coupled(coupling):
        labels = assigned(z, bags)
        score = float(graph.log_score({"y": labels}))
        return MostProbable(labels, score, score, "counts")
    small = bags.n_rows * bags.n_classes <= SMALL
    found = most_probable(graph, "program" if bags.overlapping or small else "search")
    if found.log_score == -np.inf:
        raise ObservationError(
            "transduce: bags overlap, and no labels of the rows meet all counts. Fix: look up counts and members, "
            "or give count_noise=."
        )
    return MostProbable(np.asarray(found.states["y"]), float(found.log_score), float(found.bound), found.solver)


def drawn_labels(
    z: Any, bags: Bags, rng: Any, coupling: Coupling | None = None, *, steps: int = 200, draws: int = 1
) -> np.ndarray:
    """Draw labels of all rows given all counts (draws, n).

    Without neighbours draws of two classes are exact. Otherwise they follow each other in a walk, so many steps apart.

    Args:
        z: log odds (n,), or log scores of the classes (n, K).
        bags: bags that do not overlap.
        rng: a generator of NumPy.
        coupling: neighbours; None for none.
        steps: of the walk, before each draw.
        draws: number of labellings.

    Raises: LawfulError where bags overlap.

    >>> bags = Bags.from_ids([0, 0, 0], counts=[2])
    >>> drawn_labels(np.zeros(3), bags, np.random.default_rng(0), draws=4).sum(axis=1).tolist()
    [2, 2, 2, 2]
    """
    if bags.overlapping:
        raise LawfulError("bags overlap, so their labels are not drawn bag by bag. Fix: kind='marginal' or 'map'.")
    if draws < 1 or steps < 1:
        raise ObservationError(f"drawn_labels: draws={draws}, steps={steps}. Fix: give at least 1 of each.")
    z = np.asarray(z, float)
    if not _coupled(coupling) and z.ndim == 1:
        return _apart(z, bags, rng, draws)
    start = _apart(z, bags, rng, 1)[0] if z.ndim == 1 else assigned(z, bags)
    key = jax.random.key(int(rng.integers(2**31)))
    graph = label_graph(z, bags, coupling)
    return np.asarray(walk(graph, key, draws, method="gibbs", steps=steps, start={"y": start}).states["y"])


def _apart(z: np.ndarray, bags: Bags, rng: Any, draws: int) -> np.ndarray:
    """Draw the labels of each bag by its count alone, exactly (draws, n)."""
    found = (rng.random((draws, len(z))) < expit(z)).astype(int)
    for chosen in bags.size_classes:
        rows = bags.padded(chosen)
        h = jnp.append(jnp.asarray(z), -jnp.inf)[rows]
        u = jnp.asarray(rng.random((draws, len(rows), counting.uniforms_needed(rows.shape[1]))), h.dtype)
        ones = np.asarray(counting.push_members(u, h, jnp.asarray(bags.log_weights(chosen), h.dtype)))
        found[:, rows[rows < bags.n_rows]] = ones[:, rows < bags.n_rows]
    return found


def _coupled(coupling: Coupling | None) -> bool:
    return coupling is not None and len(coupling.edges) > 0 and bool(np.any(np.asarray(coupling.strength) != 0))


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
