"""Strips: a long narrow graph with cycles, as a factorial hidden Markov model or a band of a grid, seen as a chain.

Law: variables at equal distance from an end are one joint variable; every factor lies in one level or in two that
follow each other, so the joint graph is a chain of the same measure. Where a level has fewer joint states than others,
those that are none are excluded. So T levels take T K^2 operations in one loop, where elimination takes T rounds.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, dijkstra

from ..model.potentials import Potentials
from ..model.structure import Family, Group, Structure

LEVELS = 256  # fewer are eliminated faster than a loop compiles
GROUPS = 64  # of factors, each of which is compiled for itself: with more of them elimination compiles sooner
STATES = 64  # joint states of a level
ENTRIES = 1 << 26  # of tables of joint states, for each group and in all


class Where(NamedTuple):
    """Where the variables stand, as arrays for the compiled program.

    Attributes:
        cards: number of states of each variable (n,).
        level: of each variable (n,).
        stride: what a state of it adds to the number of the joint state (n,).
        sizes: joint states of each level (L,).
        first: lowest variable of each level (L,).
        scopes: for each group, its scopes (G, r).
        inside: for each group, the factors in one level.
        across: for each group, those across two levels.
        edges: for each group, the pair of levels that its factors lie across, 0 in one level (G,).
        upper: for each group, whether each of its variables is in the second of two levels (G, r).
    """

    cards: np.ndarray
    level: np.ndarray
    stride: np.ndarray
    sizes: np.ndarray
    first: np.ndarray
    scopes: tuple[np.ndarray, ...]
    inside: tuple[np.ndarray, ...]
    across: tuple[np.ndarray, ...]
    edges: tuple[np.ndarray, ...]
    upper: tuple[np.ndarray, ...]


class Strips:
    """A graph, and the chain of its levels.

    Attributes:
        structure: of the graph.
        joint: of the chain: one family of levels, the pairs of those that follow each other, and constants.
        states: joint states of the largest level.
        where: where the variables stand.
    """

    def __init__(self, structure: Structure, level: np.ndarray, label: np.ndarray) -> None:
        """Number the joint states, and find the levels of each factor."""
        self.structure = structure
        order = np.lexsort([np.arange(structure.size), level])
        starts = np.flatnonzero(np.diff(level[order], prepend=-1))
        size, stride = np.ones(len(starts), np.int64), np.empty(structure.size, np.int64)
        place = np.arange(structure.size) - np.repeat(starts, np.diff([*starts, structure.size]))
        for k in range(int(place.max()) + 1):
            own = order[place == k]
            stride[own] = size[level[own]]
            size[level[own]] *= structure.cardinalities[own]
        part = label[order[starts]]
        follows = np.flatnonzero(part[:-1] == part[1:])
        edge = np.zeros(len(starts), np.int64)
        edge[follows] = np.arange(len(follows))
        self.states = int(size.max())
        family = Family("levels", (len(starts),), self.states, 0)
        pairs = Group("follow", np.stack([follows, follows + 1], axis=1), (self.states, self.states), False)
        constants = [g for g in structure.groups if not g.arity]
        self.joint = Structure((family,), (pairs, *constants))
        levels = [level[g.scopes] for g in structure.groups]
        lowest = [
            own.min(axis=1, initial=structure.size) if own.shape[1] else np.zeros(len(own), int) for own in levels
        ]
        upper = [own > low[:, None] for own, low in zip(levels, lowest, strict=True)]
        both = [up.any(axis=1) for up in upper]
        inside, across = ([np.flatnonzero(b == side) for b in both] for side in (False, True))
        edges = [np.where(b, edge[low], 0) for b, low in zip(both, lowest, strict=True)]
        scopes, first = [g.scopes for g in structure.groups], order[starts]
        listed = map(tuple, (scopes, inside, across, edges, upper))
        where = Where(structure.cardinalities, level, stride, size, first, *listed)
        with jax.ensure_compile_time_eval():
            self.where = jax.tree.map(lambda x: jnp.asarray(x if x.dtype == bool else x.astype(np.int32)), where)

    def potentials(self, where: Where, given: Potentials) -> Potentials:
        """Give the numbers of the chain."""
        dtype = jnp.result_type(*given.unary, *given.tables)
        states = jnp.arange(self.states)
        node = jnp.where(states < where.sizes[:, None], 0.0, -jnp.inf).astype(dtype)
        for family, scores in zip(self.structure.families, given.unary, strict=True):
            if family.size:
                own = slice(family.offset, family.offset + family.size)
                digits = self._digits(where, jnp.arange(self.structure.size)[own])
                node = node.at[where.level[own]].add(jnp.take_along_axis(jnp.asarray(scores), digits, axis=1))
        pairs = jnp.zeros((self.joint.groups[0].size, self.states, self.states), dtype)
        for k, (group, tables) in enumerate(zip(self.structure.groups, given.tables, strict=True)):
            for rows, across in _parts(where, k) if group.arity else ():
                flat = self._entries(where, k, rows, across)
                found = jnp.asarray(tables).reshape((len(tables), -1))
                found = found[jnp.zeros_like(rows) if group.shared else rows]
                found = jnp.take_along_axis(found, flat.reshape((len(rows), -1)), axis=1).reshape(flat.shape)
                if across:
                    pairs = pairs.at[where.edges[k][rows]].add(found)
                else:
                    node = node.at[where.level[where.scopes[k][rows, 0]]].add(found)
        constants = [t for g, t in zip(self.structure.groups, given.tables, strict=True) if not g.arity]
        return Potentials((node,), (pairs, *constants))

    def marginals(self, where: Where, node: Any, pairs: Any, constants: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Give marginals by family and by group from those of the levels (L, K) and of their pairs (E, K, K)."""
        variables, factors, rest = [], [], iter(constants)
        for family in self.structure.families:
            own = jnp.arange(family.offset, family.offset + family.size)
            found = jnp.zeros((family.size, family.cardinality), node.dtype)
            found = found.at[jnp.arange(family.size)[:, None], self._digits(where, own)].add(node[where.level[own]])
            variables.append(found.reshape((*family.shape, family.cardinality)))
        for k, group in enumerate(self.structure.groups):
            if not group.arity:
                factors.append(next(rest))
                continue
            found = jnp.zeros((group.size, math.prod(group.cardinalities)), node.dtype)
            for rows, across in _parts(where, k):
                flat = self._entries(where, k, rows, across).reshape((len(rows), -1))
                own = pairs[where.edges[k][rows]] if across else node[where.level[where.scopes[k][rows, 0]]]
                found = found.at[rows[:, None], flat].add(own.reshape(flat.shape))
            factors.append(found.reshape((group.size, *group.cardinalities)))
        return tuple(variables), tuple(factors)

    def decoded(self, where: Where, joint: Any) -> Any:
        """Give states of the variables (n,) from joint states of the levels (L,)."""
        return (joint[where.level] // where.stride) % where.cards

    def _digits(self, where: Where, variables: Any) -> Any:
        """State that each variable has in each joint state of its level (m, K)."""
        return (jnp.arange(self.states, dtype=jnp.int32) // where.stride[variables, None]) % where.cards[
            variables, None
        ]

    def _entries(self, where: Where, group: int, rows: Any, across: bool) -> Any:
        """Entry of the table of each factor for joint states of one level (m, K), or of two (m, K, K)."""
        cards, scopes = self.structure.groups[group].cardinalities, where.scopes[group][rows]
        flat: Any = 0
        for axis, card in enumerate(cards):
            digits = self._digits(where, scopes[:, axis])
            if across:
                second = where.upper[group][rows, axis][:, None, None]
                digits = jnp.where(second, digits[:, None, :], digits[:, :, None])
            flat = flat * card + digits
        return flat


def _parts(where: Where, group: int) -> list[tuple[Any, bool]]:
    """Split the factors of a group into those in one level and those across two."""
    split = [(where.inside[group], False), (where.across[group], True)]
    return [(rows, across) for rows, across in split if len(rows)]


@lru_cache(maxsize=64)
def strips_of(structure: Structure, levels: int = LEVELS) -> Strips | None:
    """See a graph as a chain of levels; None where it is short, wide, of many kinds of factors, or has no cycle."""
    if len(structure.groups) > GROUPS or structure.size < 2 * levels or structure.counted or structure.is_forest:
        return None
    n, none = structure.size, np.zeros(0, np.int64)
    pairs = [g.scopes[:, list(p)] for g in structure.groups for p in combinations(range(g.arity), 2)]
    tails = np.concatenate([none, *(p[:, 0] for p in pairs), *(p[:, 1] for p in pairs)])
    heads = np.concatenate([none, *(p[:, 1] for p in pairs), *(p[:, 0] for p in pairs)])
    label = connected_components(coo_matrix((np.ones(len(tails)), (tails, heads)), shape=(n, n)), directed=False)[1]

    def distances(starts: np.ndarray) -> np.ndarray:
        """Distance of each variable from the start of its part, by one search from a root before all starts."""
        ends = np.concatenate([tails, np.full(len(starts), n)]), np.concatenate([heads, starts])
        links = coo_matrix((np.ones(len(ends[0]), np.int8), ends), shape=(n + 1, n + 1)).tocsr()
        return dijkstra(links, indices=n, unweighted=True)[:n].astype(np.int64) - 1

    far = distances(np.unique(label, return_index=True)[1])
    by_distance = np.lexsort([-np.arange(n), far, label])  # the last of each part is the farthest
    distance = distances(by_distance[np.cumsum(np.bincount(label)) - 1])
    reach = np.zeros(int(label.max()) + 1, np.int64)
    np.maximum.at(reach, label, distance + 1)
    if reach.max() < levels:
        return None
    level = (np.cumsum(reach) - reach)[label] + distance
    sizes = np.zeros(int(reach.sum()))
    np.add.at(sizes, level, np.log(structure.cardinalities))
    widest = math.exp(sizes.max())
    most = max([int(reach.sum()), *(group.size for group in structure.groups)])
    if widest > STATES + 0.5 or most * widest**2 > ENTRIES:
        return None
    return Strips(structure, level, label)
