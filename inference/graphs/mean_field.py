"""Mean field: a lower bound of log Z by variables that are independent but for their counts.

Law: every law q bounds log Z from below, by the expected score plus the entropy. Here q is a product of the scores of
the variables alone and of the counts, exactly; factors enter by their expectations, which are products where their
variables are independent. Where they are not, in one bag, or where a factor excludes states, all but one of a factor's
variables are held where a possible assignment has them, whose own score is a bound as well. The scores follow those
expectations in turn, and the largest bound on the way is given.

Reference: Saul and Jordan (1996), Exploiting tractable substructures in intractable networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.special import logsumexp

from lawful.errors import WidthError

from .best_assignment import most_probable
from .inference import eliminated
from .model.graph import FactorGraph, graph_of
from .model.potentials import Potentials
from .model.structure import Group, Structure

SWEEPS = 50
BUDGET = 1 << 20  # entries of tables of the counts
DAMPING = 0.5

type _Laws = list[np.ndarray]  # of each variable (K,)


def mean_field(graph: FactorGraph, sweeps: int = SWEEPS) -> float:
    """Bound log Z from below.

    Args:
        graph: the graph, with its evidence.
        sweeps: largest number of times that the laws follow the expectations.

    >>> graph = FactorGraph()
    >>> z = graph.variables("z", shape=(2,), log_potential=[0.0, 1.0])
    >>> n = graph.count("n", z)
    >>> round(mean_field(graph.observe({"n": 1})), 4)  # of two assignments, which is all
    1.6931
    """
    structure, potentials = graph.structure, graph.potentials
    unary = [np.asarray(row, float) for scores in potentials.unary for row in np.asarray(scores)]
    factors = [
        (group, np.broadcast_to(np.asarray(table, float), (group.size, *group.cardinalities)))
        for group, table in zip(structure.groups, potentials.tables, strict=True)
    ]
    hard = any(np.isneginf(table).any() for _, table in factors)
    best, held = -np.inf, np.full(structure.size, -1)
    if structure.counted or hard:
        found = most_probable(graph)
        best = float(found.log_score)
        if best == -np.inf:
            return best
        x = np.concatenate([np.zeros(0, int), *(np.ravel(found.states[f.name]) for f in structure.families)])
        held = np.where(_free(structure, factors), -1, x)
    try:
        return max(best, _ascent(structure, unary, factors, held, sweeps))
    except WidthError:
        return best


def _ascent(structure: Structure, unary: _Laws, factors: Sequence[Any], held: np.ndarray, sweeps: int) -> float:
    """Let the scores follow the expectations, and give the largest bound on the way."""
    pinned = [
        own if state < 0 else np.where(np.arange(len(own)) == state, own, -np.inf)
        for own, state in zip(unary, held.tolist(), strict=True)
    ]
    scores, best = pinned, -np.inf
    for sweep in range(sweeps):
        log_z, laws = _laws(structure, scores)
        told, mean = _expectations(factors, laws, unary)
        bound = log_z + mean + sum(map(_mean, laws, unary)) - sum(map(_mean, laws, scores))
        if bound <= best + 1e-10 and sweep > 10:
            break
        best = max(best, bound)
        scores = [
            now if state >= 0 else DAMPING * now + (1 - DAMPING) * (own + more)
            for state, now, own, more in zip(held.tolist(), scores, pinned, told, strict=True)
        ]
    return best


def _laws(structure: Structure, scores: _Laws) -> tuple[float, _Laws]:
    """Give the log mass of the scores and the counts, and the law of each variable."""
    if not structure.counted:
        tops = [logsumexp(own) for own in scores]
        return float(sum(tops)), [np.exp(own - top) for own, top in zip(scores, tops, strict=True)]
    alone = Structure(structure.families, (), structure.counted)
    unary = tuple(
        np.stack(scores[f.offset : f.offset + f.size]) if f.size else np.zeros((0, f.cardinality))
        for f in structure.families
    )
    found = eliminated(graph_of(alone, Potentials(unary, ())), budget=BUDGET, compiled=False)
    laws = [row for f, own in zip(structure.families, found.variables, strict=True)
            for row in np.asarray(own, float).reshape((f.size, f.cardinality))]  # fmt: skip
    return float(found.log_z), laws


def _expectations(factors: Sequence[Any], laws: _Laws, unary: _Laws) -> tuple[_Laws, float]:
    """Give what factors tell each state of their variables on average, and the sum of their expectations."""
    told, total = [np.zeros(len(own)) for own in unary], 0.0
    for group, table in factors:
        each = [np.stack([laws[v] for v in column]) for column in group.scopes.T] if group.size else []
        for axis in range(group.arity):
            found = _expected(table, each, axis)
            for v, own in zip(group.scopes[:, axis].tolist(), found, strict=True):
                told[v] = told[v] + own
        whole = _expected(table, each, None)
        total += float(whole.sum())
    return told, total


def _expected(table: np.ndarray, laws: Sequence[np.ndarray], keep: int | None) -> np.ndarray:
    """Give the expectation of tables over all of their variables but one; an exclusion of positive mass gives -inf."""
    for axis in reversed(range(len(laws))):
        if axis != keep:
            weight = laws[axis].reshape([len(table), *(-1 if k == axis else 1 for k in range(table.ndim - 1))])
            terms = np.where(weight > 0, weight * np.where(weight > 0, table, 0.0), 0.0)
            table = terms.sum(axis=axis + 1)
    return table


def _mean(law: np.ndarray, scores: np.ndarray) -> float:
    return float(np.sum(law[law > 0] * scores[law > 0]))


def _free(structure: Structure, factors: Sequence[tuple[Group, np.ndarray]]) -> np.ndarray:
    """Mark the variables that need not be held: of those of a factor that hang together, or are excluded, one."""
    alone = Structure(structure.families, (), structure.counted)
    parts = connected_components(alone.bipartite, directed=False)[1][: structure.size]
    members = {
        int(total): count.members[count.starts[k] : count.starts[k + 1]].tolist()
        for count in structure.counted
        for k, total in enumerate(count.totals)
    }
    free = np.ones(structure.size, bool)

    def moves(v: int) -> bool:
        return any(map(moves, members[v])) if v in members else bool(free[v])

    def hold(v: int) -> None:
        for u in members.get(v, [v]):
            if u in members:
                hold(u)
            free[u] = False

    for group, table in factors:
        excludes = np.isneginf(table).reshape((len(table), -1)).any(axis=1)
        own = parts[group.scopes]
        apart = np.all(np.diff(np.sort(own, axis=1), axis=1) > 0, axis=1)
        for k in np.flatnonzero((excludes | ~apart) & (group.arity > 1)).tolist():
            seen: set[int] = set()
            for v in sorted(group.scopes[k].tolist(), key=lambda v: v not in members):
                place = -1 if excludes[k] else int(parts[v])
                if moves(v) and place in seen:
                    hold(v)
                elif moves(v):
                    seen.add(place)
    free[list(members)] = True  # what holds a count moves with the members
    return free
