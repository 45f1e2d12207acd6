"""Cells: variables that no count can tell apart, so that two of them may exchange their labels.

Law: the variables of a cell are members of the same bags, and each bag counts one label of all of them. Exchanging the
labels of two of a cell leaves every count as it is, whether bags overlap, have several counts, or share variables.
A label is the state of a variable, turned for binary variables that their first bag counts when they are zero.

What counts hold is determined by the members, and is in no cell. A bag is simple where nothing else reads its count; a
cell is loose where its bags are simple and hold nobody else, so that its counts follow from its own labels alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..counts.padding import alike, padded
from ..model.structure import Structure


class Bags(NamedTuple):
    """The bags of all counts, one after the other.

    Attributes:
        totals: variables that hold the counts (A,).
        starts: where the scores of each total begin, among those of all variables one after the other (A,).
        widths: number of states of each total (A,).
        simple: whether nothing but the bag reads its total (A,).
        members: variables (M,).
        of: the bag of each member (M,).
        states: the state that counts (M,).
    """

    totals: np.ndarray
    starts: np.ndarray
    widths: np.ndarray
    simple: np.ndarray
    members: np.ndarray
    of: np.ndarray
    states: np.ndarray


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of similar size, whose variables have as many states.

    Attributes:
        cardinality: number of these states.
        rows: the variables of each cell, behind the last one the number of variables of the graph (G, B).
        first: number of the first cell among all.
        bags: the bags of a loose cell, behind the last one the number of all bags (G, C).
        labels: the label that each of them counts (G, C).
        loose: whether the cell is loose (G,).
    """

    cardinality: int
    rows: np.ndarray
    first: int
    bags: np.ndarray
    labels: np.ndarray
    loose: np.ndarray


class Layout(NamedTuple):
    """What a structure's moves need to know.

    Attributes:
        bags: its bags.
        cells: its cells, those of similar size together.
        owners: the number of the cell of each variable, -1 for one that holds a count (n,).
        turned: variables whose labels are the other states (n,).
    """

    bags: Bags
    cells: tuple[Cells, ...]
    owners: np.ndarray
    turned: np.ndarray

    @property
    def number(self) -> int:
        """Number of all cells."""
        return sum(len(cells.rows) for cells in self.cells)

    def labels(self, x: Any) -> Any:
        """Give labels of states (n,), or states of labels."""
        return (jnp if isinstance(x, jax.Array) else np).where(self.turned, 1 - x, x)

    def counts(self, x: Any) -> Any:
        """Count the members of each bag that are in their states (A,)."""
        hits = x[self.bags.members] == self.bags.states
        if isinstance(x, jax.Array):
            return jax.ops.segment_sum(hits.astype(jnp.int32), self.bags.of, len(self.bags.totals))
        return np.bincount(self.bags.of, hits, len(self.bags.totals)).astype(np.int64)

    def settled(self, x: Any) -> Any:
        """Give the variables that hold counts what the members say."""
        for _ in range(1 + bool(np.any(self.owners[self.bags.members] < 0)) * len(self.bags.totals)):
            found = self.counts(x)
            x = x.at[self.bags.totals].set(found.astype(x.dtype)) if isinstance(x, jax.Array) else _put(x, self, found)
        return x


def _put(x: np.ndarray, layout: Layout, found: np.ndarray) -> np.ndarray:
    x = x.copy()
    x[layout.bags.totals] = found
    return x


@lru_cache(maxsize=64)
def layout_of(structure: Structure) -> Layout:
    """Sort the variables of a structure into cells.

    >>> from ..model.graph import FactorGraph
    >>> graph = FactorGraph()
    >>> y = graph.variables("y", shape=(5,))
    >>> n = graph.count("n", y[:4], bags=np.array([0, 0, 0, 1]))
    >>> m = graph.count("m", y[2:4])  # the third is in a bag of each
    >>> layout_of(graph.structure).owners.tolist()
    [0, 0, 1, 2, 3, -1, -1, -1]
    """
    bags = _bags(structure)
    turned, groups = np.zeros(structure.size, bool), dict[Any, list[int]]()
    memberships: list[list[tuple[int, int]]] = [[] for _ in range(structure.size)]
    for variable, bag, state in zip(*(a.tolist() for a in (bags.members, bags.of, bags.states)), strict=True):
        memberships[variable].append((bag, state))
    held = np.zeros(structure.size, bool)
    held[bags.totals] = True
    cards = structure.cardinalities.tolist()
    for variable in np.flatnonzero(~held).tolist():
        own, card = memberships[variable], cards[variable]
        if card == 2 and own and own[0][1] == 0:
            turned[variable] = True
            own = [(bag, 1 - state) for bag, state in own]
        groups.setdefault((card, *own) if own else (card, -1 - variable), []).append(variable)
    sizes = np.bincount(bags.of, minlength=len(bags.totals))
    owners, found, first = np.full(structure.size, -1), list[Cells](), 0
    for card in sorted({key[0] for key in groups}):
        named = [(key[1:], np.array(rows)) for key, rows in groups.items() if key[0] == card]
        for chosen in alike(np.array([len(rows) for _, rows in named])):
            cells = _cells(card, [named[k] for k in chosen], structure.size, bags, sizes, first)
            number = first + np.arange(len(chosen))[:, None]
            inside = cells.rows < structure.size
            owners[cells.rows[inside]] = np.broadcast_to(number, inside.shape)[inside]
            found.append(cells)
            first += len(chosen)
    return Layout(bags, tuple(found), owners, turned)


def _cells(card: int, named: list[Any], n: int, bags: Bags, sizes: np.ndarray, first: int) -> Cells:
    """Write cells, each given by its bags with the labels that they count, and its variables, as arrays."""
    known = [[pair for pair in key if not isinstance(pair, int)] for key, _ in named]
    loose = [
        all(bags.simple[b] and sizes[b] == len(rows) for b, _ in own)
        for own, (_, rows) in zip(known, named, strict=True)
    ]
    most = max((len(own) for own, free in zip(known, loose, strict=True) if free), default=0)
    members = [rows for _, rows in named]
    _, places = padded(np.cumsum([0, *map(len, members)]), np.arange(len(named)))
    rows = np.append(np.concatenate(members), n).astype(np.int32)[places]
    of, labels = (np.full((len(named), most), fill, np.int32) for fill in (len(bags.totals), -1))
    for k, (own, free) in enumerate(zip(known, loose, strict=True)):
        for place, (bag, label) in enumerate(own if free else ()):
            of[k, place], labels[k, place] = bag, label
    return Cells(card, rows, first, of, labels, np.array(loose, bool))


def _bags(structure: Structure) -> Bags:
    starts = np.cumsum([0, *structure.cardinalities.tolist()])
    found: list[list[np.ndarray]] = [[np.zeros(0, np.int64) for _ in Bags._fields]]
    number = 0
    for count in structure.counted:
        own, of = count.totals, number + count.bags
        widths = structure.cardinalities[own]
        found.append([own, starts[own], widths, ~structure.read[own], count.members, of, count.states])
        number += count.size
    totals, first, widths, simple, members, of, states = (np.concatenate(each) for each in zip(*found, strict=True))
    return Bags(totals, first, widths, simple.astype(bool), members, of.astype(np.int64), states)
