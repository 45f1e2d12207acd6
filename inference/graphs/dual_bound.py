"""Dual bound: an upper bound of the score of all assignments, by giving bags and factors a share of what is known.

Law: a variable belongs to the first bag that holds it, or to itself. For any numbers moved from other bags and factors
to the variables, the best score of each bag plus that of each factor and of each variable in no bag is at least the
best score of all. The least such bound is that of a linear relaxation; a smoothed one is followed downwards, and the
least exact one on the way is returned, so that it is a bound wherever the search ends.

Reference: Sontag, Globerson and Jaakkola (2011), Introduction to dual decomposition for inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from . import counts as counting
from .counts.padding import alike, padded
from .model.graph import FactorGraph
from .model.structure import Structure
from .moves.cells import layout_of

WARMTHS = (1.0, 0.3, 0.1, 0.03)  # of the smoothed maxima
STEPS = 30  # for each


class Bound(NamedTuple):
    """The bound, and the states of all variables (n,) that are best for the bags where it is found."""

    value: float
    states: np.ndarray


class _Bags(NamedTuple):
    """Bags of one count, filled up to the largest.

    Attributes:
        totals: variables that hold the counts (G,).
        places: the members of each bag by their number among those of the count, M for none (G, B).
        members: variables (M,).
        states: the state that counts (M,).
        home: whether a member belongs to its bag (M,).
    """

    totals: np.ndarray
    places: np.ndarray
    members: np.ndarray
    states: np.ndarray
    home: np.ndarray


class _Links(NamedTuple):
    """Who is given numbers: bags, variables of links with their numbers of states, and where these begin.

    Attributes:
        bags: of each count.
        lone: variables that belong to themselves.
        variables: of each link, those of the factors of a group axis by axis, then those of bags that are no home (L,).
        starts: where the numbers of each link begin, and the end of the last (L + 1,).
    """

    bags: tuple[_Bags, ...]
    lone: np.ndarray
    variables: np.ndarray
    starts: np.ndarray


def dual_bound(graph: FactorGraph, *, steps: int = STEPS) -> Bound:
    """Bound the score of assignments from above.

    Args:
        graph: the graph, with its evidence.
        steps: of each search.

    >>> graph = FactorGraph()
    >>> y = graph.variables("y", shape=(3,), log_potential=[[0.0, 2.0], [0.0, 1.0], [0.0, 3.0]])
    >>> n = graph.count("n", y)
    >>> dual_bound(graph.observe({"n": 2}))
    Bound(value=5.0, states=array([1, 0, 1, 2]))
    """
    split = Split(graph)
    given = np.zeros(split.links.starts[-1])
    best = split.exact(given)
    if not len(given) or not np.isfinite(best.value):
        return best
    for warmth in WARMTHS:
        options = {"maxiter": steps, "maxcor": 5}
        given = minimize(split.smooth, given, (warmth,), jac=True, method="L-BFGS-B", options=options).x
        here = split.exact(given)
        best = here if here.value < best.value else best
    return best


def decoded(graph: FactorGraph, unary: Sequence[Any] | None = None) -> np.ndarray:
    """Give the states that are best for each bag by itself (n,), by the scores of the variables or by others.

    Args:
        graph: the graph.
        unary: scores of each family (n, K), -inf for what is excluded; default: those of the graph.
    """
    split = Split(graph, unary)
    return split.exact(np.zeros(split.links.starts[-1])).states


class Split:
    """The parts of a graph, each with what it is given."""

    def __init__(self, graph: FactorGraph, unary: Sequence[Any] | None = None) -> None:
        """Read the numbers."""
        structure, potentials = graph.structure, graph.potentials
        self.structure, self.links = structure, _links_of(structure)
        given = potentials.unary if unary is None else unary
        self.cards = structure.cardinalities
        self.first = np.concatenate([[0], np.cumsum(self.cards)])
        self.own = np.concatenate([np.zeros(0), *(np.asarray(u, float).reshape(-1) for u in given)])
        self.tables = [
            np.broadcast_to(np.asarray(t, float), (g.size, *g.cardinalities))
            for g, t in zip(structure.groups, potentials.tables, strict=True)
        ]
        links = self.links.variables
        sizes = self.cards[links]
        within = np.arange(sizes.sum()) - np.repeat(self.links.starts[:-1], sizes)
        self._at = np.repeat(self.first[links], sizes) + within  # where the numbers of links go

    def _moved(self, given: np.ndarray) -> np.ndarray:
        return self.own + np.bincount(self._at, given, len(self.own))

    def _read(self, flat: np.ndarray, variables: np.ndarray) -> np.ndarray:
        """Give the scores of variables with as many states (m, K)."""
        card = int(self.cards[variables[0]]) if len(variables) else 1
        return flat[self.first[variables][:, None] + np.arange(card)]

    def _left(self, given: np.ndarray) -> tuple[list[np.ndarray], int]:
        """Give the tables less what their variables were given, and how many links they have."""
        found, link = [], 0
        for group, table in zip(self.structure.groups, self.tables, strict=True):
            for axis, card in enumerate(group.cardinalities):
                start = self.links.starts[link]
                own = given[start : start + group.size * card]
                shape = [group.size, *(card if k == axis else 1 for k in range(group.arity))]
                table = table - own.reshape(shape)
                link += group.size
            found.append(table)
        return found, link

    def _members(self, bags: _Bags, own: np.ndarray, given: np.ndarray, link: int) -> tuple[np.ndarray, int]:
        """Give the scores that a bag has of its members (M, K), and the number of the next link."""
        scores = self._read(own, bags.members)
        away = np.flatnonzero(~bags.home)
        if len(away):
            card = scores.shape[1]
            start = self.links.starts[link]
            scores[away] = -given[start : start + len(away) * card].reshape((-1, card))
        return scores, link + len(away)

    def exact(self, given: np.ndarray) -> Bound:
        """Give the bound, and the states that are best for each bag."""
        own = self._moved(given)
        tables, link = self._left(given)
        value = sum(float(t.reshape((len(t), -1)).max(axis=1).sum()) for t in tables)
        x = np.zeros(self.structure.size, np.int64)
        for card in np.unique(self.cards[self.links.lone]).tolist():
            chosen = self.links.lone[self.cards[self.links.lone] == card]
            scores = self._read(own, chosen)
            x[chosen] = np.argmax(scores, axis=1)
            value += float(scores.max(axis=1).sum())
        for bags in self.links.bags:
            scores, link = self._members(bags, own, given, link)
            odds = _odds(scores, bags.states, None)
            totals = self._read(own, bags.totals)[:, : bags.places.shape[1] + 1]
            best = _best(_padded(odds.one, bags, -np.inf), _padded(odds.zero, bags, 0.0), totals)
            value += float(best.score.sum())
            hits = np.zeros(len(bags.members), bool)
            inside = bags.places < len(bags.members)
            hits[bags.places[inside]] = best.hits[inside]
            states = np.where(hits, bags.states, odds.other)
            x[bags.members[bags.home]] = states[bags.home]
        return Bound(value, layout_of(self.structure).settled(x))

    def smooth(self, given: np.ndarray, warmth: float) -> tuple[float, np.ndarray]:
        """Give the smoothed bound, and its slope by the numbers that are given."""
        own = self._moved(given)
        tables, link = self._left(given)
        slopes, value, law = [], 0.0, np.zeros(len(own))
        for group, table in zip(self.structure.groups, tables, strict=True):
            total = warmth * logsumexp(table.reshape((len(table), -1)) / warmth, axis=1)
            value += float(total.sum())
            mass = np.exp((table - total.reshape((-1, *[1] * group.arity))) / warmth)
            for axis in range(group.arity):
                others = tuple(k + 1 for k in range(group.arity) if k != axis)
                slopes.append(mass.sum(axis=others).reshape(-1))
        for card in np.unique(self.cards[self.links.lone]).tolist():
            chosen = self.links.lone[self.cards[self.links.lone] == card]
            scores = self._read(own, chosen) / warmth
            total = logsumexp(scores, axis=1, keepdims=True)
            value += warmth * float(total.sum())
            law[self.first[chosen][:, None] + np.arange(card)] = np.exp(scores - total)
        for bags in self.links.bags:
            scores, link = self._members(bags, own, given, link)
            totals = self._read(own, bags.totals)[:, : bags.places.shape[1] + 1]
            found, members, held = _smooth_bags(bags, scores / warmth, totals / warmth)
            value += warmth * found
            slopes.append(members[~bags.home].reshape(-1))
            card = scores.shape[1]
            law[self.first[bags.members[bags.home]][:, None] + np.arange(card)] = members[bags.home]
            law[self.first[bags.totals][:, None] + np.arange(held.shape[1])] = held
        return value, law[self._at] - np.concatenate([np.zeros(0), *slopes])


class _Odds(NamedTuple):
    """Scores of members being counted and not, and their best state that is not counted (M,)."""

    one: np.ndarray
    zero: np.ndarray
    other: np.ndarray


def _odds(scores: np.ndarray, states: np.ndarray, warmth: float | None) -> _Odds:
    rows = np.arange(len(scores))
    rest = scores.copy()
    rest[rows, states] = -np.inf
    zero = rest.max(axis=1) if warmth is None else logsumexp(rest, axis=1)
    return _Odds(scores[rows, states], zero, np.argmax(rest, axis=1))


def _padded(values: np.ndarray, bags: _Bags, fill: float) -> np.ndarray:
    return np.append(values, fill)[bags.places]


class _Best(NamedTuple):
    score: np.ndarray
    hits: np.ndarray


def _best(one: np.ndarray, zero: np.ndarray, totals: np.ndarray) -> _Best:
    """Give the best score of each bag (G,) and who is counted there (G, B), from scores of members (G, B)."""
    sure, never = zero == -np.inf, one == -np.inf
    odds = np.where(sure & ~never, np.inf, np.where(never, -np.inf, one - np.where(sure, 0.0, zero)))
    order = np.argsort(-odds, axis=1, kind="stable")
    down = np.take_along_axis(odds, order, axis=1)
    gains = np.where(np.isposinf(down), np.take_along_axis(one, order, axis=1), np.where(np.isneginf(down), 0.0, down))
    sums = np.concatenate([np.zeros((len(odds), 1)), np.cumsum(gains, axis=1)], axis=1)
    s, least = np.arange(sums.shape[1]), np.isposinf(odds).sum(axis=1)
    most = (~np.isneginf(odds)).sum(axis=1)
    inside = (s >= least[:, None]) & (s <= most[:, None])
    scores = np.where(inside, sums + totals, -np.inf)
    base = np.where(sure, 0.0, zero).sum(axis=1) + np.where((sure & never).any(axis=1), -np.inf, 0.0)
    count = np.argmax(scores, axis=1)
    hits = np.zeros(odds.shape, bool)
    np.put_along_axis(hits, order, s[:-1] < count[:, None], axis=1)
    return _Best(base + np.take_along_axis(scores, count[:, None], axis=1)[:, 0], hits)


def _smooth_bags(bags: _Bags, scores: np.ndarray, totals: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Give the log mass of all bags, and the probabilities of members (M, K) and of counts (G, B + 1)."""
    odds = _odds(scores, bags.states, 1.0)
    sure = odds.zero == -np.inf
    h = np.where(sure, np.inf, odds.one - np.where(sure, 0.0, odds.zero))
    base = np.where(sure, odds.one, odds.zero) + np.where(sure, 0.0, np.logaddexp(0.0, np.where(sure, 0.0, h)))
    # Filled up to powers of two by bags without members, and members that are never counted: few shapes to compile.
    (many, size), inside = bags.places.shape, bags.places < len(bags.members)
    fill = [(1 << (k - 1).bit_length()) - k for k in (max(many, 2), max(size, 4))]
    more = ((0, fill[0] + max(2 - many, 0)), (0, fill[1] + max(4 - size, 0)))
    rows = jnp.asarray(np.pad(_padded(h, bags, -np.inf), more, constant_values=-np.inf))
    g = jnp.asarray(np.pad(np.pad(totals, (more[0], (0, 0))), ((0, 0), more[1]), constant_values=-np.inf))
    told, evidence = counting.solve(rows, g, accuracy=1e-12)
    held = np.asarray(counting.count_posterior(rows, g))[:many, : size + 1]
    hit = np.zeros(len(h))
    hit[bags.places[inside]] = np.asarray(jax.nn.sigmoid(rows + told))[:many, :size][inside]
    rest = np.where(np.arange(scores.shape[1]) == bags.states[:, None], -np.inf, scores)
    among = np.exp(rest - np.where(sure, 0.0, odds.zero)[:, None])
    law = np.where(np.arange(scores.shape[1]) == bags.states[:, None], hit[:, None], (1 - hit)[:, None] * among)
    return float(base.sum() + np.asarray(evidence).sum()), law, held


@lru_cache(maxsize=64)
def _links_of(structure: Structure) -> _Links:
    """Say what belongs to whom, once for each structure."""
    taken = np.zeros(structure.size, bool)
    for count in structure.counted:
        taken[count.totals] = True
    variables = [np.zeros(0, np.int64)]
    for group in structure.groups:
        variables += list(group.scopes.T)
    bags = []
    for count in structure.counted:
        home = ~taken[count.members]
        home &= np.isin(np.arange(len(home)), np.unique(count.members, return_index=True)[1])
        taken[count.members] = True
        for chosen in alike(count.sizes):
            own, places = padded(count.starts, chosen)
            bags.append(_Bags(count.totals[chosen], places, count.members[own], count.states[own], home[own]))
            variables.append(count.members[own][~home[own]])
    links = np.concatenate(variables)
    starts = np.concatenate([[0], np.cumsum(structure.cardinalities[links])])
    return _Links(tuple(bags), np.flatnonzero(~taken), links, starts.astype(np.int64))
