"""Pendants: long paths of variables that hang from the rest of a graph at one end, or stand alone.

Law: the sum over the variables of a path, but for its last one, is a message to that one; the rest with the messages is
a graph of the same mass, the core. A path that stands alone has no last one and is a number. So the graph is the core
and chains, which `graphs.chains` sums by K^2 operations a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components

from ..model.structure import Family, Group, Structure

LEAST = 32  # variables of a path that is worth a loop
WORK = 1 << 22  # entries that rounds would sum; fewer take less time than a loop takes to compile
VARIABLES = 1 << 14  # more take longer to plan as rounds
RAGGED = 0.75  # shorter paths are not padded to the length of a batch


class Piece(NamedTuple):
    """Factors of one group on the edges of a batch, in one direction.

    Attributes:
        group: number of the group.
        flipped: whether their scopes have the later variable first.
        whole: whether every edge has one of them, in the order of the edges.
    """

    group: int
    flipped: bool
    whole: bool


class Batch(NamedTuple):
    """Paths that are run at once; what is compiled.

    Attributes:
        states: number of states of their variables.
        paths: number of paths.
        steps: variables of the longest.
        attached: whether their last variables are of the core.
        ragged: whether some are shorter.
        pieces: their factors.
    """

    states: int
    paths: int
    steps: int
    attached: bool
    ragged: bool
    pieces: tuple[Piece, ...]


class BatchPlaces(NamedTuple):
    """Where the numbers of a batch stand.

    Attributes:
        variables: numbers of the variables (paths, steps); a shorter path repeats its last one.
        rows: their numbers among those with as many states (paths, steps).
        lengths: of the paths (paths,).
        ends: rows of the last variables among those of the core (paths,); where attached.
        factors: for each piece, the factors of its group (F,).
        edges: for each piece, the edges that they are on, path by path (F,).
    """

    variables: np.ndarray
    rows: np.ndarray
    lengths: np.ndarray
    ends: np.ndarray
    factors: tuple[np.ndarray, ...]
    edges: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Pendants:
    """A graph as a core and chains.

    Attributes:
        structure: the whole.
        core: the rest: a family for each number of states, its variables in their order in the whole.
        kept: numbers of the variables of the core in the whole, in the order of the core (n,).
        core_groups: for each group of the core, the number of the group in the whole.
        core_factors: for each group of the core, the factors of that group (F,).
        batches: the chains.
        places: where their numbers stand.
    """

    structure: Structure
    core: Structure
    kept: np.ndarray
    core_groups: tuple[int, ...]
    core_factors: tuple[np.ndarray, ...]
    batches: tuple[Batch, ...]
    places: tuple[BatchPlaces, ...]

    @property
    def paths(self) -> int:
        """Number of chains."""
        return sum(batch.paths for batch in self.batches)

    @property
    def variables(self) -> int:
        """Number of variables in chains."""
        return int(sum(places.lengths.sum() for places in self.places))


class _Edges(NamedTuple):
    """Pairs of variables that share a factor: lower and higher numbers (E,), and the factors of two variables (F,)."""

    low: np.ndarray
    high: np.ndarray
    keys: np.ndarray
    of_factor: np.ndarray
    first: np.ndarray
    group: np.ndarray
    factor: np.ndarray


@lru_cache(maxsize=64)
def pendants_of(structure: Structure, least: int = LEAST) -> Pendants | None:
    """Find the chains of a graph, of so many variables at least; None where there are none."""
    edges = _edges(structure)
    paths = _paths(structure, edges, least)
    if not paths:
        return None
    batches, places = [], []
    gone = np.zeros(structure.size, bool)
    for many, attached in _alike(structure, paths):
        for path in many:
            gone[path[: len(path) - attached]] = True
    kept = np.flatnonzero(~gone)
    kept = kept[np.argsort(structure.cardinalities[kept], kind="stable")]
    core_row = _rows_of(structure, kept)
    for many, attached in _alike(structure, paths):
        batch, own = _batch(structure, edges, many, attached, core_row)
        batches.append(batch)
        places.append(own)
    core, groups, factors = _core(structure, kept, gone, places)
    return Pendants(structure, core, kept, groups, factors, tuple(batches), tuple(places))


def _edges(structure: Structure) -> _Edges:
    pairs = [(k, group) for k, group in enumerate(structure.groups) if group.arity == 2]
    none = np.zeros(0, np.int64)
    scopes = np.concatenate([np.zeros((0, 2), np.int64), *(group.scopes for _, group in pairs)])
    keys = scopes.min(axis=1) * structure.size + scopes.max(axis=1)
    unique, of_factor = np.unique(keys, return_inverse=True)
    return _Edges(
        unique // max(structure.size, 1), unique % max(structure.size, 1), unique, of_factor, scopes[:, 0],
        np.concatenate([none, *(np.full(group.size, k) for k, group in pairs)]),
        np.concatenate([none, *(np.arange(group.size) for _, group in pairs)]),
    )  # fmt: skip


def _paths(structure: Structure, edges: _Edges, least: int) -> list[tuple[np.ndarray, bool]]:
    """List paths by their variables, from a free end on, and whether the other end hangs from something."""
    n, cards = structure.size, structure.cardinalities
    if not n:
        return []
    degree = np.bincount(edges.low, minlength=n) + np.bincount(edges.high, minlength=n)
    inner = degree <= 2
    for group in structure.groups:
        if group.arity > 2:
            inner[group.scopes] = False
    along = inner[edges.low] & inner[edges.high] & (cards[edges.low] == cards[edges.high])
    low, high = edges.low[along], edges.high[along]
    label = connected_components(coo_matrix((np.ones(len(low)), (low, high)), shape=(n, n)), directed=False)[1]
    sizes = np.bincount(label, minlength=1)
    reached = np.bincount(low, minlength=n) + np.bincount(high, minlength=n)
    free = np.flatnonzero(inner & (reached == 1) & (degree == 1) & (sizes[label] >= least))
    if not len(free):
        return []
    with_start, first, ends = np.unique(label[free], return_index=True, return_counts=True)
    starts = free[first]
    # One search from a root above all starts: its order, sorted by path, is the order along each path.
    tails, heads = np.concatenate([low, high, np.full(len(starts), n)]), np.concatenate([high, low, starts])
    links = coo_matrix((np.ones(len(tails), np.int8), (tails, heads)), shape=(n + 1, n + 1)).tocsr()
    order = breadth_first_order(links, n, return_predecessors=False)[1:].astype(np.int64)
    order = order[np.argsort(label[order], kind="stable")]
    cuts = np.cumsum(sizes[with_start])[:-1]
    return [(path, bool(e == 1)) for path, e in zip(np.split(order, cuts), ends.tolist(), strict=True)]


def _alike(structure: Structure, paths: list[tuple[np.ndarray, bool]]) -> list[tuple[list[np.ndarray], bool]]:
    """Group paths that can be run at once: as many states, and lengths that differ little."""
    cards = structure.cardinalities
    found: list[tuple[list[np.ndarray], bool]] = []
    head: tuple[int, bool] | None = None
    for path, attached in sorted(paths, key=lambda p: (cards[p[0][0]], p[1], -len(p[0]), p[0][0])):
        kind = (int(cards[path[0]]), attached)
        if kind != head or len(path) < RAGGED * len(found[-1][0][0]):
            found.append(([], attached))
            head = kind
        found[-1][0].append(path)
    return found


def _rows_of(structure: Structure, kept: np.ndarray) -> np.ndarray:
    """Number the variables of the core among those with as many states (n,); -1 for the others."""
    row = np.full(structure.size, -1)
    cards = structure.cardinalities[kept]
    for card in np.unique(cards).tolist():
        own = kept[cards == card]
        row[own] = np.arange(len(own))
    return row


def _batch(
    structure: Structure, edges: _Edges, many: list[np.ndarray], attached: bool, core_row: np.ndarray
) -> tuple[Batch, BatchPlaces]:
    lengths = np.array([len(path) for path in many])
    count, steps = len(many), int(lengths[0])
    variables = np.stack([np.pad(path, (0, steps - len(path)), mode="edge") for path in many])
    there = np.arange(1, steps)[None] < lengths[:, None]
    before, after = variables[:, :-1][there], variables[:, 1:][there]
    keys = np.minimum(before, after) * structure.size + np.maximum(before, after)
    edge = np.searchsorted(edges.keys, keys)
    place, tail = np.full(len(edges.keys), -1), np.full(len(edges.keys), -1)
    place[edge], tail[edge] = np.flatnonzero(there.reshape(-1)), before
    own = np.flatnonzero(place[edges.of_factor] >= 0)
    flipped = edges.first[own] != tail[edges.of_factor[own]]
    pieces, factors, where = [], [], []
    for group, turned in sorted(set(zip(edges.group[own].tolist(), flipped.tolist(), strict=True))):
        rows = own[(edges.group[own] == group) & (flipped == turned)]
        rows = rows[np.argsort(place[edges.of_factor[rows]], kind="stable")]
        at = place[edges.of_factor[rows]]
        pieces.append(Piece(group, turned, np.array_equal(at, np.flatnonzero(there.reshape(-1)))))
        factors.append(edges.factor[rows])
        where.append(at)
    card = int(structure.cardinalities[variables[0, 0]])
    batch = Batch(card, count, steps, attached, bool((lengths < steps).any()), tuple(pieces))
    ends = core_row[variables[:, -1]] if attached else np.zeros(0, np.int64)
    return batch, BatchPlaces(variables, structure.rows[variables], lengths, ends, tuple(factors), tuple(where))


def worth_loops(structure: Structure, always: bool = False) -> Pendants | None:
    """Split a graph into a core and chains; None where rounds are as good.

    Rounds sum K^3 entries for each variable of a chain, a loop K^2, but it has to be compiled.
    """
    found = pendants_of(structure)
    if found is None or always:
        return found
    ends = zip(found.batches, found.places, strict=True)
    work = sum(int(places.lengths.sum()) * batch.states**3 for batch, places in ends)
    return found if work >= WORK or found.variables >= VARIABLES else None


def _core(
    structure: Structure, kept: np.ndarray, gone: np.ndarray, places: list[BatchPlaces]
) -> tuple[Structure, tuple[int, ...], tuple[np.ndarray, ...]]:
    cards = structure.cardinalities[kept]
    families = tuple(
        Family(f"{card} states", (int((cards == card).sum()),), card, int(np.argmax(cards == card)))
        for card in np.unique(cards).tolist()
    )
    number = np.full(structure.size, -1)
    number[kept] = np.arange(len(kept))
    groups, numbers, factors = [], [], []
    for k, group in enumerate(structure.groups):
        rows = np.flatnonzero(~gone[group.scopes].any(axis=1))
        if group.arity == 1 or not len(rows):  # scores of single variables are those of the families
            continue
        groups.append(Group(group.name, number[group.scopes[rows]], group.cardinalities, group.shared))
        numbers.append(k)
        factors.append(rows)
    return Structure(families, tuple(groups)), tuple(numbers), tuple(factors)
