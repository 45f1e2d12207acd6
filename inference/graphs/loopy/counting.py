"""Counting numbers: how often each factor counts in a free energy, as shares of forests that hold it.

Law: for any law of random forests (sets of factors without a cycle) that gives each factor a positive probability c,
the free energy with these numbers is concave and at least log Z. Numbers one give the Bethe free energy.

Reference: Wainwright, Jaakkola and Willsky (2005), A new class of upper bounds on the log partition function; for the
effective resistances, the edge probabilities of the uniform spanning tree, Kirchhoff's matrix-tree theorem.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lawful.late import networkx

from ..model.structure import Structure

DENSE_UP_TO = 1500
FORESTS = 64


def tree_shares(structure: Structure) -> list[np.ndarray]:
    """Give for each group the probability that a random forest holds each of its factors (G,).

    Where every factor has at most two variables and there are no more than 1500 variables, those of the uniform
    spanning tree; else the shares of random forests, so many that each factor is in one.
    """
    small = structure.size <= DENSE_UP_TO and all(group.arity <= 2 for group in structure.groups)
    return _resistances(structure) if small else shares(structure, random_forests(structure))


def shares(structure: Structure, forests: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Give the share of forests that hold each factor, for each group (G,)."""
    return [np.mean([forest[k] for forest in forests], axis=0) for k in range(len(structure.groups))]


def random_forests(structure: Structure, count: int = FORESTS, seed: int = 0) -> list[list[np.ndarray]]:
    """Draw forests, as masks by group and then by count, until there are `count` and every factor is in one.

    They are taken in a random order, those that were in no forest yet first, where they close no cycle. In every second
    forest bags come before factors: a count that is kept bounds more than most factors do, but two of its members may
    share a factor, which no forest has beside the bag.
    """
    rng = np.random.default_rng(seed)
    scopes = [tuple(scope) for group in structure.groups for scope in group.scopes.tolist()]
    later = np.arange(len(scopes) + sum(bags.size for bags in structure.counted)) < len(scopes)
    for bags in filter(lambda bags: bags.size, structure.counted):
        members = np.split(bags.members, bags.starts[1:-1])
        scopes += [(total, *own.tolist()) for total, own in zip(bags.totals.tolist(), members, strict=True)]
    sizes = [group.size for group in structure.groups] + [bags.size for bags in structure.counted]
    ends = np.cumsum(sizes)[:-1]
    covered = np.zeros(len(scopes), bool)
    forests: list[list[np.ndarray]] = []
    while len(forests) < count or not covered.all():
        order = np.lexsort((rng.random(len(scopes)), covered, later & (len(forests) % 2 == 0)))
        taken = _forest(scopes, order, structure.size)
        covered |= taken
        forests.append(np.split(taken, ends))
    return forests


def _forest(scopes: Sequence[tuple[int, ...]], order: np.ndarray, size: int) -> np.ndarray:
    """Take factors in an order where their variables hang together in no other way (Kruskal)."""
    parts = networkx.utils.UnionFind(range(size))
    taken = np.zeros(len(scopes), bool)
    for k in order.tolist():
        if len({parts[v] for v in scopes[k]}) == len(scopes[k]):
            taken[k] = True
            parts.union(*scopes[k])
    return taken


def _resistances(structure: Structure) -> list[np.ndarray]:
    """Effective resistances of the edges, each with conductance one; one for factors of a single variable."""
    laplacian = np.zeros((structure.size, structure.size))
    for group in structure.groups:
        if group.arity == 2:
            a, b = group.scopes.T
            np.add.at(laplacian, (a, a), 1.0)
            np.add.at(laplacian, (b, b), 1.0)
            np.add.at(laplacian, (a, b), -1.0)
            np.add.at(laplacian, (b, a), -1.0)
    inverse = np.linalg.pinv(laplacian, hermitian=True) if structure.size else laplacian
    found = []
    for group in structure.groups:
        if group.arity < 2:
            found.append(np.ones(group.size))
            continue
        a, b = group.scopes.T
        found.append(np.clip(inverse[a, a] + inverse[b, b] - 2 * inverse[a, b], 0.0, 1.0))
    return found
