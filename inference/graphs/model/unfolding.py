"""Unfolding: counts as chains of partial sums, so that a graph of tables alone has the same measure.

Law: summing the partial sums out gives the graph back, and every assignment has exactly one value of them. Members join
in the order in which they were named, so neighbours in a chain stay neighbours: a count over a chain of variables needs
tables of three variables. A bag of B members costs about 2 B^3 / 3 entries of tables, once for all bags of its size.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .graph import FactorGraph
from .structure import Family, Group, Structure


class Unfolded(NamedTuple):
    """A structure without counts, whose first variables and groups are those of another, and the tables it adds."""

    structure: Structure
    tables: tuple[np.ndarray, ...]


def unfolded(graph: FactorGraph) -> FactorGraph:
    """Write the counts of a graph as tables, with variables for partial sums, whose names start with `~`.

    >>> graph = FactorGraph()
    >>> y = graph.variables("y", shape=(4,))
    >>> n = graph.count("n", y)
    >>> graph, unfolded(graph)
    (FactorGraph(5 variables, 0 factors, 1 count), FactorGraph(7 variables, 3 factors))
    """
    if not graph.structure.counted:
        return graph
    plain, tables = _unfolded(graph.structure)
    return graph.extended(plain, _no_scores(graph.structure), tables)


def tabled(graph: FactorGraph) -> FactorGraph:
    """Give the graph with its counts written as tables, and with its evidence; made once for all copies."""
    if "tabled" not in graph._kept:
        graph._kept["tabled"] = unfolded(graph.without_evidence())
    other: FactorGraph = graph._kept["tabled"].copy()
    other._evidence = dict(graph._evidence)
    return other


def unfolding_entries(structure: Structure, each: bool = False) -> int:
    """Count the entries of the tables that unfolding adds, without making them; bags of one size share theirs.

    Args:
        structure: of the graph.
        each: whether to count those of every bag.
    """
    cards, found = structure.cardinalities, 0
    for count in structure.counted:
        for size, many in zip(*map(np.ndarray.tolist, np.unique(count.sizes, return_counts=True)), strict=True):
            card = int(cards[count.members[0]]) if size else 1
            steps = np.arange(1, size, dtype=float)
            own = int(np.sum(card * steps * (steps + 1))) + card * (size + 1) * int(cards[count.totals[0]])
            found += own * many if each else own
    return found


def unfolded_structure(structure: Structure) -> Structure:
    """Give the structure of the graph that `unfolded` makes of one with counts."""
    return _unfolded(structure).structure


def _no_scores(structure: Structure) -> list[np.ndarray]:
    added = _unfolded(structure).structure.families[len(structure.families) :]
    return [np.zeros((family.size, family.cardinality)) for family in added]


@lru_cache(maxsize=64)
def _unfolded(structure: Structure) -> Unfolded:
    made = _Made(structure)
    for number in range(len(structure.counted)):
        made.add(number)
    return Unfolded(Structure(tuple(made.families), tuple(made.groups)), tuple(made.tables))


class _Made:
    """What unfolding has made so far."""

    def __init__(self, structure: Structure) -> None:
        self.cards, self.counted, self.size = structure.cardinalities, structure.counted, structure.size
        self.families, self.groups = list(structure.families), list(structure.groups)
        self.tables: list[np.ndarray] = []

    def add(self, number: int) -> None:
        """Add the steps of a count: each joins a member to the sum of those before it."""
        count = self.counted[number]
        order = np.argsort(-count.sizes, kind="stable")  # bags that go on are then always the first ones
        sizes, starts, totals = count.sizes[order], count.starts[:-1][order], count.totals[order]
        card = int(self.cards[count.members[0]]) if len(count.members) else 1
        width = int(self.cards[totals[0]]) if len(totals) else 1
        self._group(f"~{count.name}: none", totals[sizes == 0][:, None], np.zeros(1), None, width)
        # The sums before a step: who holds them (G, 0 or 1), and what they are in each of its states (G, C).
        scope, value = np.zeros((int(np.sum(sizes > 0)), 0), np.int64), np.zeros(int(np.sum(sizes > 0)))
        for step in range(1, 1 + int(sizes.max(initial=0))):
            going, joining = int(np.sum(sizes > step)), len(scope)
            place = starts[:joining] + step - 1
            member, hits = count.members[place][:, None], np.arange(card) == count.states[place][:, None]
            both = np.concatenate([scope, member], axis=1)
            ended = slice(going, joining)
            self._group(
                f"~{count.name}: end {step}",
                np.concatenate([both[ended], totals[ended, None]], axis=1),
                value[ended], hits[ended], width,
            )  # fmt: skip
            if step == 1:
                scope, value = member[:going], hits[:going].astype(float)
                continue
            partial = self._sums(f"~{count.name}: sum of {step}", going, step + 1)
            on = slice(0, going)
            self._group(
                f"~{count.name}: more {step}",
                np.concatenate([both[on], partial], axis=1),
                value[on],
                hits[on],
                step + 1,
            )
            scope, value = partial, np.tile(np.arange(step + 1.0), (going, 1))

    def _sums(self, name: str, many: int, card: int) -> np.ndarray:
        """Add variables of partial sums, and give their numbers (G, 1)."""
        numbers = self.size + np.arange(many)[:, None]
        if many:
            self.families.append(Family(name, (many,), card, self.size))
            self.size += many
        return numbers

    def _group(self, name: str, scopes: np.ndarray, value: np.ndarray, hits: np.ndarray | None, width: int) -> None:
        """Add factors: the last variable of each holds the sum of the values of the others."""
        if not len(scopes):
            return
        total = value if hits is None else value[..., None] + hits.reshape((len(hits), *[1] * (value.ndim - 1), -1))
        shared = bool((total == total[:1]).all())
        table = np.where((total[:1] if shared else total)[..., None] == np.arange(width), 0.0, -np.inf)
        self.groups.append(Group(name, scopes, table.shape[1:], shared))
        self.tables.append(table)
