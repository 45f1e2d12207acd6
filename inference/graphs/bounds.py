"""Bounds of log Z: a mean field below, random trees above, and the Bethe value, which is neither, between or beside.

Law: lower <= log Z <= upper, at any time: no bound asks for convergence.

Reference: Wainwright and Jordan (2008), Graphical models, exponential families, and variational inference, sections 5.3
and 7.2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lawful.errors import LawfulError

from .inference import log_mass, most_probable
from .loopy.counting import random_forests, shares
from .loopy.propagation import propagated
from .model.graph import FactorGraph
from .model.potentials import Potentials
from .model.structure import Group, Structure
from .planning import exactly, planned

SWEEPS = 50
TRIES = 100_000  # of states, in the search for an assignment that is possible


@dataclass(frozen=True)
class Bracket:
    """Natural logs around the total mass of a graph.

    Attributes:
        lower: a mean field.
        upper: the mean of trees.
        bethe: of loopy belief propagation.
        verdict: how that run ended.
    """

    lower: float
    upper: float
    bethe: float
    verdict: str


def bracket(graph: FactorGraph, forests: int = 64) -> Bracket:
    """Bound log Z from both sides.

    Args:
        graph: the graph, with its evidence.
        forests: number of random forests of the upper bound; more make it tighter.

    Raises: LawfulError for a graph with counts.

    >>> graph = FactorGraph()
    >>> z = graph.variables("z", shape=(3,), cardinality=2)
    >>> graph.factors("same", [z, z[[1, 2, 0]]], np.eye(2))
    >>> found = bracket(graph)
    >>> found.lower <= 4.0339 <= found.upper
    True
    """
    if graph.structure.counted:
        raise LawfulError(
            "bracket: the graph has counts, and the bounds are those of tables. Fix: infer(graph), or, where bags are "
            "small, bracket(unfolded(graph))."
        )
    loopy = propagated(graph)
    return Bracket(mean_field(graph), tree_bound(graph, forests), float(loopy.log_z), str(loopy.verdict))


def tree_bound(graph: FactorGraph, forests: int = 64) -> float:
    """Give the mean over random forests of log Z with each factor's table divided by its share of the forests."""
    structure, potentials = graph.structure, graph.potentials
    drawn = random_forests(structure, forests)
    weights = shares(structure, drawn)
    unary = tuple(np.asarray(u, float) for u in potentials.unary)
    found = 0.0
    for forest in drawn:
        groups, tables = [], []
        for group, table, mask, share in zip(structure.groups, potentials.tables, forest, weights, strict=True):
            kept = np.flatnonzero(mask)
            if not len(kept):
                continue
            own = np.broadcast_to(np.asarray(table, float), (group.size, *group.cardinalities))[kept]
            groups.append(Group(group.name, group.scopes[kept], group.cardinalities, shared=False))
            tables.append(own / share[kept].reshape((-1, *[1] * group.arity)))
        part = Structure(structure.families, tuple(groups))
        found += float(log_mass(exactly(part, order="rounds"), Potentials(unary, tuple(tables)), compiled=False))
    return found / len(drawn)


def mean_field(graph: FactorGraph, sweeps: int = SWEEPS) -> float:
    """Give the largest expected score plus entropy of independent variables that coordinate ascent finds.

    Every such law bounds log Z from below. The ascent starts at the scores of each variable alone and, where states
    exclude each other, at an assignment that is possible, whose own score is a bound.
    """
    structure, potentials = graph.structure, graph.potentials
    unary = [np.asarray(row, float) for scores in potentials.unary for row in np.asarray(scores)]
    factors = [
        (scope, np.broadcast_to(np.asarray(table, float), (group.size, *group.cardinalities))[k])
        for group, table in zip(structure.groups, potentials.tables, strict=True)
        for k, scope in enumerate(group.scopes.tolist())
    ]
    touching: list[list[int]] = [[] for _ in unary]
    for number, (scope, _) in enumerate(factors):
        for v in scope:
            touching[v].append(number)
    best, q = _ascent(unary, factors, touching, [_softmax(scores) for scores in unary], sweeps)
    if all(np.all(table > -np.inf) for _, table in factors):
        return best
    states = _possible(graph, unary, factors, touching, q)
    if states is None:
        return best
    certain = [np.eye(len(scores))[k] for scores, k in zip(unary, states, strict=True)]
    return max(best, _ascent(unary, factors, touching, certain, sweeps)[0])


type _Factors = list[tuple[list[int], Any]]


def _ascent(
    unary: list[np.ndarray], factors: _Factors, touching: list[list[int]], q: list[np.ndarray], sweeps: int
) -> tuple[float, list[np.ndarray]]:
    """Move one law after the other to where the bound is largest."""
    best = _bound(unary, factors, q)
    for _ in range(sweeps):
        for v, scores in enumerate(unary):
            total = scores.copy()
            for number in touching[v]:
                scope, table = factors[number]
                total = total + _expected(table, scope, q, keep=v)
            if np.any(total > -np.inf):
                q[v] = _softmax(total)
        now = _bound(unary, factors, q)
        if now <= best + 1e-10:
            return max(now, best), q
        best = now
    return best, q


def _possible(
    graph: FactorGraph, unary: list[np.ndarray], factors: _Factors, touching: list[list[int]], q: list[np.ndarray]
) -> list[int] | None:
    """Find an assignment that is possible: the best one where elimination can, else by trying, likely states first."""
    if planned(graph.structure).method == "loopy":
        return _tried(unary, factors, touching, q)
    found, score = most_probable(graph)
    if score == -np.inf:
        return None
    return np.concatenate([np.ravel(found[f.name]) for f in graph.structure.families]).tolist()


def _tried(
    unary: list[np.ndarray], factors: _Factors, touching: list[list[int]], q: list[np.ndarray]
) -> list[int] | None:
    """Assign one variable after the other, and go back where a factor has no state left; None after many tries."""
    orders = [
        [k for k in np.argsort(-p, kind="stable").tolist() if s[k] > -np.inf] for p, s in zip(q, unary, strict=True)
    ]
    states: list[int] = []
    left = [iter(orders[0])] if orders else []
    for _ in range(TRIES):
        if len(states) == len(unary):
            return states
        state = next(left[-1], None)
        if state is not None:
            states.append(state)
            if all(_open(*factors[number], states) for number in touching[len(states) - 1]):
                left.append(iter(orders[len(states)] if len(states) < len(orders) else []))
            else:
                states.pop()
            continue
        left.pop()
        if not states:
            return None
        states.pop()
    return None


def _open(scope: list[int], table: Any, states: list[int]) -> bool:
    """Tell whether a factor allows what is assigned so far."""
    return bool(np.any(table[tuple(states[v] if v < len(states) else slice(None) for v in scope)] > -np.inf))


def _expected(table: Any, scope: list[int], q: list[np.ndarray], keep: int | None = None) -> Any:
    """Give the expectation of a table over all of its variables but one; an exclusion of positive mass gives -inf."""
    for axis in reversed(range(len(scope))):
        if scope[axis] != keep:
            weight = q[scope[axis]].reshape([-1 if j == axis else 1 for j in range(table.ndim)])
            terms = np.where(weight > 0, weight * np.where(weight > 0, table, 0.0), 0.0)
            table = terms.sum(axis=axis)
    return table


def _bound(unary: list[np.ndarray], factors: list[tuple[list[int], Any]], q: list[np.ndarray]) -> float:
    total = 0.0
    for scores, p in zip(unary, q, strict=True):
        some = p > 0
        total += float(np.sum(p[some] * (scores[some] - np.log(p[some]))))
    return total + sum(float(_expected(table, scope, q)) for scope, table in factors)


def _softmax(scores: np.ndarray) -> np.ndarray:
    top = scores.max()
    weights = np.exp(scores - (top if np.isfinite(top) else 0.0))
    return weights / weights.sum() if weights.sum() > 0 else np.full(len(scores), 1 / len(scores))
