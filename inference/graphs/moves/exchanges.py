"""Exchanges: a local search for a better assignment, by single changes and by exchanges that leave every count.

Law: each step removes exclusions, or raises the score and adds none. At the end no exchange of the labels of two
variables of a cell does that, nor any change of one variable whose bags are simple. So counts that are met stay met,
and those that are not are brought nearer to what is allowed, one member at a time.

The best move of each cell and of each variable is found exactly, and moves that share no variable, factor or bag are
made at once: those that gain most.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..model.graph import FactorGraph
from ..model.potentials import Potentials
from ..model.structure import Structure
from .cells import Layout, layout_of
from .fields import Pairs, fields, own_scores, pairs_of

MOST = 20_000  # rounds
STILL = 1e-9  # a gain that rounding may have made, in units of the largest score
OUT = 1e6  # of an exclusion, beside which scores do not matter


class Meetings(NamedTuple):
    """Pairs of variables of one cell that share factors.

    Attributes:
        pairs: the two variables of each (P, 2).
        near: for each variable those that it meets, the number of variables behind the last one (n + 1, D).
        shared: for each group, of each factor that a pair shares: the pair, the factor and the two axes (F, 4).
        touched: for each variable, the vertices of its factors, and then of its bags.
    """

    pairs: np.ndarray
    near: np.ndarray
    shared: tuple[np.ndarray, ...]
    touched: tuple[list[list[int]], list[list[int]]]


def improved(graph: FactorGraph, states: Any) -> np.ndarray:
    """Improve states of all variables (n,) until no move does; what holds a count takes it from the members.

    >>> graph = FactorGraph()
    >>> y = graph.variables("y", shape=(3,), log_potential=[[0.0, 0.0], [0.0, 3.0], [0.0, 1.0]])
    >>> n = graph.count("n", y)
    >>> improved(graph.observe({"n": 1}), np.array([1, 0, 0, 1])).tolist()
    [0, 1, 0, 1]
    """
    structure, layout = graph.structure, layout_of(graph.structure)
    potentials = _scaled(graph.potentials)
    pairs, totals = pairs_of(structure, potentials), _of_counts(layout, own_scores(structure, potentials))
    x = layout.settled(np.asarray(states, np.int64))
    for _ in range(MOST):
        made = _made(meetings_of(structure), _moves(structure, layout, pairs, totals, x), x)
        if made is None:
            break
        x = layout.settled(made)
    return x


class Moves(NamedTuple):
    """Moves with their gain (m,), the variables that change (m, 2), -1 for none, and their new states (m, 2)."""

    gain: np.ndarray
    variables: np.ndarray
    states: np.ndarray


def _moves(structure: Structure, layout: Layout, pairs: Pairs, totals: np.ndarray, x: np.ndarray) -> list[Moves]:
    """Find the best move of each cell, and of each variable."""
    own = fields(structure, pairs, x)
    return [*_exchanges(structure, layout, pairs, own, x), _changes(layout, own, totals, x)]


def _exchanges(structure: Structure, layout: Layout, pairs: Pairs, own: np.ndarray, x: np.ndarray) -> list[Moves]:
    n, meetings = structure.size, meetings_of(structure)
    own = own.copy()
    own[layout.turned, :2] = own[layout.turned, :2][:, ::-1]
    y = layout.labels(x)
    found = []
    for cells in layout.cells:
        if cells.rows.shape[1] < 2:
            continue
        most = min(meetings.near.shape[1] + 1, cells.rows.shape[1])
        inside = cells.rows < n
        labels = np.where(inside, y[np.minimum(cells.rows, n - 1)], -1)
        for b in range(cells.cardinality):
            for a in range(b):
                gains = _worth(own[:, b] - own[:, a])[np.minimum(cells.rows, n - 1)]
                up, low = _top(np.where(labels == a, gains, -np.inf), cells.rows, most)
                down, high = _top(np.where(labels == b, -gains, -np.inf), cells.rows, most)
                # Gains of two that meet do not add up; with one candidate more than meet the best other pair is there.
                both = up[:, :, None] + down[:, None, :]
                both = np.where(np.any(meetings.near[high][:, None] == low[:, :, None, None], axis=-1), -np.inf, both)
                place = np.argmax(both.reshape(len(both), -1), axis=1)
                row = np.arange(len(both))
                variables = np.stack([low[row, place // most], high[row, place % most]], axis=1)
                found.append(Moves(both.reshape(len(both), -1)[row, place], variables, np.tile([b, a], (len(both), 1))))
    if len(meetings.pairs):
        u, v = meetings.pairs.T
        gain = own[u, y[v]] - own[u, y[u]] + own[v, y[u]] - own[v, y[v]] + _bonds(structure, layout, pairs, x, y)
        gains = np.where(y[u] == y[v], -np.inf, _worth(gain))
        found.append(Moves(gains, meetings.pairs, np.stack([y[v], y[u]], axis=1)))
    return [Moves(m.gain, m.variables, _states_of(layout, m)) for m in found]


def _states_of(layout: Layout, moves: Moves) -> np.ndarray:
    """Give the states of new labels."""
    turned = np.append(layout.turned, False)[moves.variables]
    return np.where(turned, 1 - moves.states, moves.states)


def _bonds(structure: Structure, layout: Layout, pairs: Pairs, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What the two gains of an exchange miss, as its two variables share factors (P, 2)."""
    meetings = meetings_of(structure)
    found = np.zeros((len(meetings.pairs), 2))
    for group, tables, shared in zip(structure.groups, pairs.tables, meetings.shared, strict=True):
        if not len(shared):
            continue
        pair, factor, first, second = shared.T
        states = x[group.scopes[factor]]
        u, v = meetings.pairs[pair].T
        turn = layout.turned
        fresh = [np.where(turn[w], 1 - y[other], y[other]) for w, other in ((u, v), (v, u))]
        place, row = (np.zeros_like(factor) if group.shared else factor), np.arange(len(factor))
        for signs, moved in ((1, (True, True)), (-1, (True, False)), (-1, (False, True)), (1, (False, False))):
            at = states.copy()
            for axis, go, told in zip((first, second), moved, fresh, strict=True):
                at[row, axis] = np.where(go, told, at[row, axis])
            np.add.at(found, pair, signs * tables[(place, *at.T)])
    return found


def _changes(layout: Layout, own: np.ndarray, totals: np.ndarray, x: np.ndarray) -> Moves:
    """Find the best other state of each variable whose bags are simple."""
    n, bags = len(x), layout.bags
    gain = own - np.take_along_axis(own, np.minimum(x, own.shape[1] - 1)[:, None, None], axis=1)
    now = bags.starts + x[bags.totals]
    steps = [
        np.where(inside[:, None], totals[np.clip(now + step, 0, len(totals) - 1)] - totals[now], [0.0, OUT])
        for step, inside in ((1, x[bags.totals] + 1 < bags.widths), (-1, x[bags.totals] > 0))
    ] if len(now) else [np.zeros((0, 2))] * 2  # fmt: skip
    hit = x[bags.members] == bags.states
    enters, leaves = (step[bags.of] for step in steps)
    free = layout.owners >= 0
    inside = free[bags.members] & (bags.states < own.shape[1])
    outside, within = inside & ~hit, inside & hit
    np.add.at(gain, (bags.members[outside], bags.states[outside]), enters[outside])
    np.add.at(gain, bags.members[within], leaves[within][:, None])
    np.add.at(gain, (bags.members[within], bags.states[within]), -leaves[within])
    free[bags.members[~bags.simple[bags.of]]] = False
    worth = _worth(gain)
    worth[np.arange(n), np.minimum(x, own.shape[1] - 1)] = -np.inf
    worth[~free] = -np.inf
    best = np.argmax(worth, axis=1)
    none = np.full(n, -1)
    return Moves(worth[np.arange(n), best], np.stack([np.arange(n), none], axis=1), np.stack([best, none], axis=1))


def _made(meetings: Meetings, found: list[Moves], x: np.ndarray) -> np.ndarray | None:
    """Make the moves that gain most, of those that do not touch each other; None where none gains."""
    gain, variables, states = (np.concatenate(each) for each in zip(*found, strict=True))
    chosen = np.flatnonzero(gain > STILL)
    if not len(chosen):
        return None
    x, seen = x.copy(), set[int]()
    factors, bags = meetings.touched
    for k in chosen[np.argsort(-gain[chosen], kind="stable")].tolist():
        u, v = variables[k].tolist()
        touches = {u, *factors[u], *bags[u]} if v < 0 else {u, v, *factors[u], *factors[v]}
        if seen.isdisjoint(touches):
            seen |= touches
            x[u] = states[k, 0]
            if v >= 0:
                x[v] = states[k, 1]
    return x


@lru_cache(maxsize=64)
def meetings_of(structure: Structure) -> Meetings:
    """Find who meets whom within a cell, once for each structure."""
    n, owners = structure.size, layout_of(structure).owners
    found = []
    for group in structure.groups:
        own = [np.zeros((0, 5), np.int64)]
        for i in range(group.arity):
            for j in range(group.arity):
                u, v = group.scopes[:, i], group.scopes[:, j]
                f = np.flatnonzero((owners[u] == owners[v]) & (owners[u] >= 0) & (u != v))
                own.append(np.stack([u[f] * n + v[f], f, np.full_like(f, i), np.full_like(f, j), f], axis=1))
        found.append(np.concatenate(own)[:, :4])
    codes, place = np.unique(np.concatenate([np.zeros(0, np.int64), *(f[:, 0] for f in found)]), return_inverse=True)
    pairs = np.stack([codes // max(n, 1), codes % max(n, 1)], axis=1)
    cuts = np.cumsum([len(f) for f in found])[:-1]
    parts = np.split(place, cuts) if found else []
    shared = tuple(np.column_stack([p, f[:, 1:]]) for p, f in zip(parts, found, strict=True))
    turn = np.arange(len(pairs)) - np.searchsorted(pairs[:, 0], pairs[:, 0])
    near = np.full((n + 1, int(turn.max(initial=-1)) + 1), n)
    near[pairs[:, 0], turn] = pairs[:, 1]
    edges, first = structure.bipartite, structure.vertices[len(structure.groups)]
    factors: list[list[int]] = [[] for _ in range(n)]
    bags: list[list[int]] = [[] for _ in range(n)]
    for variable, vertex in zip(edges.row.tolist(), edges.col.tolist(), strict=True):
        (factors if vertex < first else bags)[variable].append(vertex)
    return Meetings(pairs, near, shared, (factors, bags))


def _top(values: np.ndarray, rows: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the largest values of each cell, and their variables (G, most)."""
    order = np.argsort(-values, axis=1, kind="stable")[:, :most]
    return np.take_along_axis(values, order, axis=1), np.take_along_axis(rows, order, axis=1)


def _worth(gain: np.ndarray) -> np.ndarray:
    """Weigh a gain: an exclusion that goes is worth more than any score."""
    return gain[..., 0] - OUT * gain[..., 1]


def _scaled(potentials: Potentials) -> Potentials:
    """Give the scores in units of the largest one, in double precision."""
    arrays = [np.asarray(a, float) for a in (*potentials.unary, *potentials.tables)]
    scale = max((np.abs(a[np.isfinite(a)]).max(initial=0.0) for a in arrays), default=0.0) or 1.0
    parts = [a / scale for a in arrays]
    return Potentials(tuple(parts[: len(potentials.unary)]), tuple(parts[len(potentials.unary) :]))


def _of_counts(layout: Layout, flat: np.ndarray) -> np.ndarray:
    """Write scores of all variables as pairs; those of an excluded count say how far it is off."""
    found = np.stack([np.where(np.isneginf(flat), 0.0, flat), np.zeros(len(flat))], axis=1)
    for start, width in zip(layout.bags.starts.tolist(), layout.bags.widths.tolist(), strict=True):
        allowed = np.flatnonzero(flat[start : start + width] > -np.inf)
        if len(allowed) < width:
            off = np.abs(np.arange(width)[:, None] - allowed).min(axis=1, initial=width)
            found[start : start + width, 1] = off
    return found
