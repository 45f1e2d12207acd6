"""Ordering: in which order to eliminate variables, by greedy rules on the graph of who meets whom in a factor.

Law: every order gives the same sum; the orders differ in the size of the tables on the way. An order comes with the
neighbours that each variable has at its turn, the scope of the table that its elimination leaves.

Reference: Koller and Friedman (2009), Probabilistic graphical models, section 9.4.3.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..model.structure import Structure

MIN_FILL_UP_TO = 3000
GREEDY_UP_TO = 20_000
ROUND = 10_000  # entries that take about as long as one round's overhead

type Neighbours = list[set[int]]
type Cost = Callable[[int, Neighbours, np.ndarray], float]


@dataclass(frozen=True)
class Order:
    """An order of elimination.

    Attributes:
        rule: how it was found.
        variables: the variables in order.
        scopes: for each variable, by number, its neighbours at its turn, in the order in which they are eliminated.
    """

    rule: str
    variables: tuple[int, ...]
    scopes: Mapping[int, tuple[int, ...]]

    def entries(self, cardinalities: Sequence[int]) -> list[int]:
        """Sizes of the tables that are summed, in order."""
        return [cardinalities[v] * math.prod(cardinalities[u] for u in self.scopes[v]) for v in self.variables]

    @cached_property
    def width(self) -> int:
        """Largest number of neighbours at a variable's turn: the induced width."""
        return max((len(scope) for scope in self.scopes.values()), default=0)


def neighbours_of(structure: Structure) -> Neighbours:
    """List for each variable those that it shares a factor with."""
    found: Neighbours = [set() for _ in range(structure.size)]
    for group in structure.groups:
        for scope in group.scopes.tolist():
            for v in scope:
                found[v].update(scope)
    for v, near in enumerate(found):
        near.discard(v)
    return found


def greedy(structure: Structure, rule: str) -> Order:
    """Eliminate, at each turn, a variable of least cost; ties by number.

    Args:
        structure: the graph.
        rule: "min-fill" (pairs of neighbours that do not meet yet), "min-degree" (neighbours), or "min-weight" (size
            of the table).
    """
    cards, near = structure.cardinalities, neighbours_of(structure)
    cost = RULES[rule]
    heap = [(cost(v, near, cards), v) for v in range(structure.size)]
    heapq.heapify(heap)
    current = {v: c for c, v in heap}
    variables, scopes = [], {}
    while heap:
        value, v = heapq.heappop(heap)
        if current.get(v) != value:
            continue
        del current[v]
        around = _taken_out(v, near)
        variables.append(v)
        scopes[v] = tuple(around)
        touched = set(around)
        if rule == "min-fill":
            touched.update(*(near[u] for u in around))
        for u in touched:
            value = cost(u, near, cards)
            if current[u] != value:
                current[u] = value
                heapq.heappush(heap, (value, u))
    return _sorted(rule, variables, scopes)


def _fill(v: int, near: Neighbours, cards: np.ndarray) -> float:
    around = near[v]
    return sum(len(around - near[u]) - 1 for u in around) / 2


def _degree(v: int, near: Neighbours, cards: np.ndarray) -> float:
    return float(len(near[v]))


def _weight(v: int, near: Neighbours, cards: np.ndarray) -> float:
    return math.log(cards[v]) + sum(math.log(cards[u]) for u in near[v])


RULES: Mapping[str, Cost] = {"min-fill": _fill, "min-degree": _degree, "min-weight": _weight}


def in_rounds(structure: Structure, seed: int = 0) -> Order:
    """Eliminate in rounds of variables that do not meet: those that leave no larger table than they found.

    A variable with at most two neighbours is ready; where none is, those with the fewest neighbours are. A ready
    variable is taken where its random rank is below those of its ready neighbours. On a forest of n variables about
    log n rounds are needed, however long its paths are: it is the contraction of a tree.

    Reference: Miller and Reif (1985), Parallel tree contraction and its application; Luby (1986), A simple parallel
    algorithm for the maximal independent set problem.
    """
    near = neighbours_of(structure)
    rank = np.random.default_rng(seed).permutation(structure.size).tolist()
    variables, scopes = list[int](), {}
    by_degree: dict[int, set[int]] = defaultdict(set)  # so that a round costs what is ready, not what is left
    for v, around in enumerate(near):
        by_degree[len(around)].add(v)
    while by_degree:
        least = max(2, min(by_degree))
        ready = set().union(*(many for degree, many in by_degree.items() if degree <= least))
        taken = sorted(v for v in ready if all(u not in ready or rank[v] < rank[u] for u in near[v]))
        changed = set(taken).union(*(near[v] for v in taken))
        for v in changed:
            _leave(by_degree, len(near[v]), v)
        for v in taken:
            variables.append(v)
            scopes[v] = tuple(_taken_out(v, near))
        for v in changed.difference(taken):
            by_degree[len(near[v])].add(v)
    return _sorted("rounds", variables, scopes)


def _leave(by_degree: dict[int, set[int]], degree: int, v: int) -> None:
    by_degree[degree].remove(v)
    if not by_degree[degree]:
        del by_degree[degree]


def _taken_out(v: int, near: Neighbours) -> set[int]:
    """Join the neighbours of a variable, which meet in the table that it leaves, and give them."""
    around = near[v]
    for u in around:
        near[u] |= around
        near[u] -= {u, v}
    return around


def _sorted(rule: str, variables: Sequence[int], scopes: Mapping[int, Iterable[int]]) -> Order:
    turn = {v: k for k, v in enumerate(variables)}
    return Order(rule, tuple(variables), {v: tuple(sorted(scopes[v], key=turn.__getitem__)) for v in variables})


def best_order(structure: Structure) -> Order:
    """Compare the rules by the work: table entries, and what each round costs besides."""
    cards = structure.cardinalities.tolist()
    found = [in_rounds(structure)]
    if structure.size <= GREEDY_UP_TO:
        found += [greedy(structure, name) for name in RULES if name != "min-fill" or structure.size <= MIN_FILL_UP_TO]
    return min(found, key=lambda order: sum(order.entries(cards)) + ROUND * len(rounds_of(order)))


def rounds_of(order: Order) -> list[list[int]]:
    """Group variables into rounds: each waits for those in whose scopes it stands.

    The variables of a round do not meet in any table, so they can be eliminated at once.
    """
    height: dict[int, int] = {}
    rounds: list[list[int]] = []
    for v in order.variables:
        mine = height.get(v, 0)
        while len(rounds) <= mine:
            rounds.append([])
        rounds[mine].append(v)
        for u in order.scopes[v]:
            height[u] = max(height.get(u, 0), mine + 1)
    return rounds
