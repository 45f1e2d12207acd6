"""Transduction: labels of rows whose bags were counted, most probable or drawn, with exactly the reported counts.

Law: without neighbours both are exact. With neighbours the most probable labels are the best that max-product, a dual
bound and the counts alone lead to, after every exchange within a bag that helps; their score and an upper bound of all
scores are told, and where the two meet the labels are proved to be the most probable. Where bags overlap they are those
of an integer program. Draws are what a block Gibbs walk of so many steps, which leaves the law of the labels as it is,
comes to from a draw without neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit

from lawful.errors import LawfulError, ObservationError
from lawful.inference.graphs import counts as counting
from lawful.inference.graphs import propagated

from .assigning import assigned
from .bags import Bags
from .coupling import Coupling
from .dual_bound import dual_bound
from .fields import Joint, joint_of, log_score, refuse_overlaps
from .gibbs import gibbs_labels
from .labelling import label_graph, labelled
from .likelihood import count_log_likelihood
from .overlapping import programmed
from .swaps import improved

__all__ = ["MostProbable", "check_kind", "drawn_labels", "most_probable_labels", "transduced"]

KINDS = ("marginal", "map", "sample")
SWEEPS = 50  # of max-product


@dataclass(frozen=True, eq=False)
class MostProbable:
    """Labels, and what is known of how good they are.

    Attributes:
        labels: class of each row (n,).
        log_score: log P(labels, reports) under the learner's law times the neighbours'.
        bound: no labels have a larger score.
        started: what led to them: "counts", "max-product", "bound", or an "integer program" where bags overlap.

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

    Raises: where bags overlap, as `programmed`.

    >>> found = most_probable_labels(np.array([2.0, 1.0, 3.0]), Bags.from_ids([0, 0, 0], counts=[2]))
    >>> found.labels.tolist(), found.proved
    ([1, 0, 1], True)
    """
    z = np.asarray(z, float)
    if bags.overlapping:
        scores = np.stack([-np.logaddexp(0, z), -np.logaddexp(0, -z)], axis=1) if z.ndim == 1 else z
        scores = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
        return MostProbable(*programmed(scores, bags, coupling), "integer program")
    joint = joint_of(z, bags, coupling)
    if not _coupled(coupling):
        return _judged(joint, assigned(z, bags), "counts", None)
    assert coupling is not None
    above = dual_bound(joint, bags)
    graph = label_graph(z, bags, coupling)
    found = propagated(graph, temperature=None, damping=0.5, max_iters=SWEEPS, certify=False, factors=False)
    told = np.log(np.maximum(np.asarray(found.beliefs["y"], float), 1e-300))
    starts = {"counts": z, "max-product": told[:, 1] - told[:, 0] if z.ndim == 1 else told}
    labels = {name: assigned(scores, bags) for name, scores in starts.items()} | {"bound": above.labels}
    candidates = [_judged(joint, improved(joint, each), name, above.value) for name, each in labels.items()]
    return max(candidates, key=lambda each: each.log_score)


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
    refuse_overlaps(bags)
    if draws < 1 or steps < 1:
        raise ObservationError(f"drawn_labels: draws={draws}, steps={steps}. Fix: give at least 1 of each.")
    z = np.asarray(z, float)
    if not _coupled(coupling) and z.ndim == 1:
        return _apart(z, bags, rng, draws)
    start = _apart(z, bags, rng, 1)[0] if z.ndim == 1 else assigned(z, bags)
    key = jax.random.key(int(rng.integers(2**31)))
    return np.asarray(gibbs_labels(joint_of(z, bags, coupling), start, key, steps=steps, draws=draws))


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


def _judged(joint: Joint, labels: np.ndarray, started: str, bound: float | None) -> MostProbable:
    score = float(log_score(joint, jnp.asarray(labels, jnp.int32)))
    return MostProbable(labels, score, score if bound is None else max(bound, score), started)


def _coupled(coupling: Coupling | None) -> bool:
    return coupling is not None and len(coupling.edges) > 0 and bool(np.any(np.asarray(coupling.strength) != 0))
