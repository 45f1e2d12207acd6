"""Bucket elimination, planned: which tables meet at each variable, batch by batch, before a number is touched.

Law: every table is used once, when the first variable of its scope is eliminated. All tables have their axes in the
order of elimination, so variables of a round whose tables have the same shapes form one batch, and a graph is a short
list of batches whatever its size.

Reference: Dechter (1999), Bucket elimination: a unifying framework for reasoning.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .ordering import Order, rounds_of
from .structure import Structure

type Shape = tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """Tables that enter a batch, one for each of its variables.

    Attributes:
        shape: of each table, and the pool that holds them.
        axes: where its axes stand in the joint table, the first of which is the variable's.
    """

    shape: Shape
    axes: tuple[int, ...]


@dataclass(frozen=True)
class Batch:
    """Variables that are eliminated at once.

    Attributes:
        shape: of the joint table of each: its own states, then those of its scope.
        sources: the tables that meet there.
        start: where the results stand in the pool of their shape; 0 for those that join a variable or the total.
    """

    shape: Shape
    sources: tuple[Source, ...]
    start: int

    @property
    def rest(self) -> Shape:
        """Shape of a result."""
        return self.shape[1:]


@dataclass(frozen=True)
class Entry:
    """Factors of a group whose tables enter a pool.

    Attributes:
        group: number of the group.
        order: the axes of its tables in the order of elimination.
        start: where they stand in the pool.
        count: how many; one for all factors where they share a table still takes a place for each.
    """

    group: int
    order: tuple[int, ...]
    start: int
    count: int


@dataclass(frozen=True)
class Steps:
    """What is static in a plan: it decides what is compiled.

    Attributes:
        families: of variables: number of the first one, how many, number of states.
        cardinalities: numbers of states, with the number of variables that have as many.
        constants: groups whose factors have no variable.
        singles: groups whose factors have one variable each, with its number of states.
        entries: groups of other factors, by the order of their axes.
        pools: shapes of tables, with the number of tables.
        batches: in the order in which they are run.
    """

    families: tuple[tuple[int, int, int], ...]
    cardinalities: tuple[tuple[int, int], ...]
    constants: tuple[int, ...]
    singles: tuple[tuple[int, int], ...]
    entries: tuple[Entry, ...]
    pools: tuple[tuple[Shape, int], ...]
    batches: tuple[Batch, ...]


class Places(NamedTuple):
    """What only says where numbers stand: arrays that are given to the compiled program.

    Attributes:
        singles: for each such group, the rows of its variables among those with as many states (G,).
        entries: for each entry, the factors of its group.
        variables: for each batch, numbers of the variables (B,).
        rows: for each batch, their rows among the variables with as many states (B,).
        slots: for each batch, for each source, where the tables stand in their pool (B,).
        targets: for each batch whose results have one axis, the rows of the variables that they join (B,).
        scopes: for each batch, numbers of the variables in the scope (B, r).
    """

    singles: tuple[np.ndarray, ...]
    entries: tuple[np.ndarray, ...]
    variables: tuple[np.ndarray, ...]
    rows: tuple[np.ndarray, ...]
    slots: tuple[tuple[np.ndarray, ...], ...]
    targets: tuple[np.ndarray, ...]
    scopes: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Plan:
    """An elimination of all variables.

    Attributes:
        order: the order.
        steps: what is compiled.
        places: where numbers stand.
        rounds: number of rounds.
        largest: number of entries of the largest table.
        entries: number of entries of all tables that are summed.
    """

    order: Order
    steps: Steps
    places: Places
    rounds: int
    largest: int
    entries: int

    def __repr__(self) -> str:
        """Say in words what it takes."""
        return (
            f"elimination by {self.order.rule}: width {self.order.width}, {self.entries} table entries, the largest "
            f"table {self.largest}, {self.rounds} rounds, {len(self.steps.batches)} batches"
        )


type Filed = tuple[Shape, int, tuple[int, ...]]


class _Buckets:
    """Tables that wait for the first variable of their scope: their shape, place in the pool, and scope."""

    def __init__(self, size: int) -> None:
        self.counts: dict[Shape, int] = defaultdict(int)
        self._waiting: list[list[Filed]] = [[] for _ in range(size)]

    def file(self, shape: Shape, scopes: np.ndarray) -> int:
        """Take places in a pool for tables with these scopes (B, r), in the order of elimination."""
        start = self.counts[shape]
        self.counts[shape] += len(scopes)
        for k, scope in enumerate(scopes.tolist()):
            self._waiting[scope[0]].append((shape, start + k, tuple(scope)))
        return start

    def meet(self, variable: int, scope: tuple[int, ...]) -> tuple[tuple[Source, ...], list[int]]:
        """Take the tables of a variable, by the axes at which they enter the joint table, with their places."""
        axis = {u: k for k, u in enumerate((variable, *scope))}
        found = sorted(
            ((tuple(axis[u] for u in of), shape, slot) for shape, slot, of in self._waiting[variable]),
            key=lambda table: table[:2],
        )
        self._waiting[variable] = []
        return tuple(Source(shape, axes) for axes, shape, _ in found), [slot for _, _, slot in found]


def planned(structure: Structure, order: Order) -> Plan:
    """Write an elimination in an order as batches."""
    cards, turn = structure.cardinalities, np.empty(structure.size, np.int64)
    turn[list(order.variables)] = np.arange(structure.size)
    row, counted = structure.rows, tuple(structure.counts.items())
    buckets = _Buckets(structure.size)
    entries, chosen = _entered(structure, turn, buckets)
    size, rounds = cards.tolist(), rounds_of(order)
    batches: list[Batch] = []
    places: list[tuple[Any, ...]] = []
    for variables in rounds:
        alike: dict[tuple[Shape, tuple[Source, ...]], list[tuple[int, list[int]]]] = defaultdict(list)
        for v in variables:
            sources, slots = buckets.meet(v, order.scopes[v])
            alike[(size[v], *(size[u] for u in order.scopes[v])), sources].append((v, slots))
        for (shape, sources), members in alike.items():
            own = np.array([v for v, _ in members])
            scopes = np.array([order.scopes[v] for v in own.tolist()], np.int64).reshape((len(own), len(shape) - 1))
            start = buckets.file(shape[1:], scopes) if len(shape) > 2 else 0
            batches.append(Batch(shape, sources, start))
            target = row[scopes[:, 0]] if len(shape) == 2 else np.zeros(0, np.int64)
            slots_of = tuple(np.array(column) for column in zip(*(s for _, s in members), strict=True))
            places.append((own, row[own], slots_of, target, scopes))
    constants = tuple(k for k, group in enumerate(structure.groups) if not group.arity)
    singles = [k for k, group in enumerate(structure.groups) if group.arity == 1]
    joined = tuple(row[structure.groups[k].scopes[:, 0]] for k in singles)
    families = tuple((f.offset, f.size, f.cardinality) for f in structure.families)
    ones = tuple((k, structure.groups[k].cardinalities[0]) for k in singles)
    steps = Steps(families, counted, constants, ones, entries, tuple(buckets.counts.items()), tuple(batches))
    columns = zip(*places, strict=True) if places else [()] * 5
    sizes = order.entries(size)
    return Plan(order, steps, Places(joined, chosen, *columns), len(rounds), max(sizes, default=0), sum(sizes))


def _entered(
    structure: Structure, turn: np.ndarray, buckets: _Buckets
) -> tuple[tuple[Entry, ...], tuple[np.ndarray, ...]]:
    """Give each factor of two or more variables a place, with its axes in the order of elimination."""
    entries: list[Entry] = []
    chosen: list[np.ndarray] = []
    for number, group in enumerate(structure.groups):
        if group.arity < 2:
            continue
        orders = np.argsort(turn[group.scopes], axis=1, kind="stable")
        for order in np.unique(orders, axis=0):
            rows = np.flatnonzero((orders == order).all(axis=1))
            shape = tuple(group.cardinalities[k] for k in order)
            start = buckets.file(shape, group.scopes[rows][:, order])
            entries.append(Entry(number, tuple(int(k) for k in order), start, len(rows)))
            chosen.append(rows)
    return tuple(entries), tuple(chosen)
