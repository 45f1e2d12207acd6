"""The published graph, a joint of labels: squared deviations of counts, and neighbours weighted by a kernel.

Law: log P(y) = - bag sum_b (sum_{i in b} y_i - S_b)^2 - similarity sum_{ij} K_ij (y_i - y_j)^2 + constant, with
K_ij = exp(-|x_i - x_j|). The square of a count is a factor for every pair of a bag's members, "pairwise", or one count
factor, "count": the same joint up to a constant, whose loopy beliefs differ.

Reference: Havaldar, Sharma, Sareen, Shanmugam, Raghuveer (2024), Learning from label proportions: bootstrapping
supervised learners via belief propagation, ICLR.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError
from lawful.inference.graphs import FactorGraph
from lawful.models.llp import Bags
from lawful.models.llp.neighbours.nearest import approximate_nearest, exact_nearest
from lawful.models.llp.neighbours.neighbours import EXACT_UP_TO

__all__ = ["published_graph", "similar"]

LARGEST_PAIRWISE = 128  # members of a bag


def similar(X: np.ndarray, bags: Bags, k: int, rule: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Give pairs of neighbours (E, 2), by cosine, and their kernel (E,).

    Args:
        X: covariates or an embedding (n, d).
        bags: are read by the rule "published" alone.
        k: neighbours that each row looks for.
        rule: "all", or "published": of the neighbours that a row finds, those are kept whose finder is in a bag with a
            count of 0 or 1, as the published code does; of large bags that leaves hardly any.
        seed: of an approximate search.

    >>> X = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 2.0]], np.float32)
    >>> edges, kernel = similar(X, Bags.from_ids([0, 0, 1, 1], [2, 1]), 1, "published")
    >>> edges.tolist(), kernel.round(4).tolist()
    ([[2, 3]], [0.3679])
    """
    X = np.ascontiguousarray(X, np.float32)
    lengths = np.linalg.norm(X, axis=1, keepdims=True)
    points = X / np.where(lengths > 0, lengths, 1)
    k = min(k, len(X) - 1)
    nearest = exact_nearest(points, k)[0] if points.size <= EXACT_UP_TO else approximate_nearest(points, k, seed)[0]
    source, target = np.repeat(np.arange(len(X)), k), np.asarray(nearest).reshape(-1)
    if rule == "published":
        few = np.zeros(len(X), bool)
        few[bags.members[(bags.known & (bags.counts <= 1))[bags.owners]]] = True
        source, target = source[few[source]], target[few[source]]
    edges = np.unique(np.sort(np.stack([source, target], axis=1), axis=1), axis=0)
    return edges, np.exp(-np.linalg.norm(X[edges[:, 0]].astype(float) - X[edges[:, 1]], axis=1))


def published_graph(
    bags: Bags, edges: np.ndarray, kernel: np.ndarray, *, bag: float, similarity: float, form: str
) -> FactorGraph:
    """Write the joint over "y" (n,) as a factor graph.

    Args:
        bags: bags with counts of ones; those whose count is not known say nothing.
        edges: pairs of neighbours (E, 2).
        kernel: of these (E,).
        bag: strength of the counts.
        similarity: strength of the neighbours.
        form: "pairwise" or "count".

    Raises: LawfulError for counts of classes, noisy ones, and for pairs of bags of more than 128 members.

    >>> bags = Bags.from_ids([0, 0, 1], counts=[1, 1])
    >>> published_graph(bags, np.array([[0, 2]]), np.array([0.5]), bag=1.0, similarity=1.0, form="pairwise")
    FactorGraph(3 variables, 2 factors)
    """
    if bags.counts.ndim > 1 or bags.noise is not None:
        raise LawfulError("the published method takes exact counts of ones. Fix: give counts (n_b,) without noise.")
    bags = bags.take(bags.known & (bags.sizes > 0))
    if form == "pairwise" and bags.sizes.max(initial=0) > LARGEST_PAIRWISE:
        raise LawfulError(
            f"bag_form='pairwise': a bag has {bags.sizes.max()} members, which would be "
            f"{int(np.sum(bags.sizes * (bags.sizes - 1) // 2))} factors. Fix: give bag_form='count'."
        )
    unary = -similarity * np.bincount(edges.reshape(-1), np.repeat(kernel, 2), bags.n_rows)
    pairs, couplings = edges, 2 * similarity * kernel
    if form == "pairwise":
        unary -= bag * np.bincount(bags.members, (1 - 2 * bags.counts)[bags.owners], bags.n_rows)
        inside = _pairs_inside(bags)
        pairs, place = np.unique(np.concatenate([pairs, inside]), axis=0, return_inverse=True)
        both = np.concatenate([couplings, np.full(len(inside), -2.0 * bag)])
        couplings = np.bincount(place.reshape(-1), both, len(pairs))  # a pair that is both is one factor
    graph = FactorGraph()
    y = graph.variables("y", (bags.n_rows,), 2, jnp.stack([jnp.zeros(bags.n_rows), jnp.asarray(unary)], axis=1))
    if len(pairs):
        tables = np.zeros((len(pairs), 2, 2))
        tables[:, 1, 1] = couplings
        graph.factors("pairs", [y[pairs[:, 0]], y[pairs[:, 1]]], jnp.asarray(tables))
    if form == "count":
        for number, chosen in enumerate(bags.size_classes):
            own = bags.take(chosen)
            s = np.arange(own.sizes.max() + 1)[None]
            scores = np.where(s <= own.sizes[:, None], -bag * (s - own.counts[:, None]) ** 2.0, -np.inf)
            graph.count(f"count {number}", y[own.members], jnp.asarray(scores), bags=own.owners)
    return graph


def _pairs_inside(bags: Bags) -> np.ndarray:
    """Give all pairs of members of the same bag (P, 2), the smaller row first."""
    found = [np.zeros((0, 2), np.int64)]
    for chosen in bags.size_classes:
        members = bags.padded(chosen)
        first, second = np.triu_indices(members.shape[1], 1)
        pairs = np.stack([members[:, first], members[:, second]], axis=-1).reshape(-1, 2)
        found.append(pairs[(pairs < bags.n_rows).all(axis=1)])
    return np.concatenate(found)
