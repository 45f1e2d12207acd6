"""Orders: in which order the variables of a structure are eliminated, found by rules within a number of operations.

Law: every order gives the same sum; the orders differ in the size of the tables on the way. An order depends on the
structure alone, is found once for each, and serves every potential and all evidence. A search ends after a number of
operations that is linear in the graph, and where a table is met that no run could hold. `least_largest` bounds the
largest table of every order from below, so that where it is over budget no order need be sought.

Reference: Koller and Friedman (2009), Probabilistic graphical models, section 9.4.3; Bodlaender, Koster and Wolle
(2004), Contraction and treewidth lower bounds.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from lawful.errors import LawfulError

from ..model.structure import Structure
from .buckets import placed
from .elimination import NOWHERE, Places

MOST = -NOWHERE  # entries of all tables, beyond which they cannot be numbered
ROUND = 10_000  # entries that take about as long as one round's overhead
GREEDY_UP_TO = 20_000  # variables of a graph; of more, rounds alone take little time
OPERATIONS = 500  # of a search, for each variable and each pair of variables that meet
AT_LEAST = 1 << 22  # operations of a search, however small the graph
TURN = 16  # operations that take about as long as what a turn costs besides
SCALE = 1 << 20  # of logarithms as whole numbers
PART = 1_000  # variables of the part of a graph that is looked at first; then of twice as many

type Neighbours = list[set[int]]
type Cost = Callable[[int, Neighbours, np.ndarray], float]


@dataclass(frozen=True, eq=False)
class Order:
    """An order of elimination, and what it takes.

    Attributes:
        structure: of the graph.
        rule: how it was found.
        variables: the variables in order.
        scopes: for each variable, by number, its neighbours at its turn, in the order in which they are eliminated.
        whole: whether it has all variables; else the search ended before, and the numbers below are those so far.
    """

    structure: Structure
    rule: str
    variables: tuple[int, ...]
    scopes: Mapping[int, tuple[int, ...]]
    whole: bool = True

    @cached_property
    def width(self) -> int:
        """Largest number of neighbours at a variable's turn: the induced width."""
        return max((len(scope) for scope in self.scopes.values()), default=0)

    @cached_property
    def sizes(self) -> list[int]:
        """Numbers of entries of the tables that are summed, in order."""
        cards = self.structure.cardinalities.tolist()
        return [cards[v] * math.prod(cards[u] for u in self.scopes[v]) for v in self.variables]

    @property
    def largest(self) -> int:
        """Number of entries of the largest of them."""
        return max(self.sizes, default=0)

    @property
    def entries(self) -> int:
        """Number of entries of them all."""
        return sum(self.sizes)

    @cached_property
    def rounds(self) -> list[list[int]]:
        """Variables that do not meet in any table, and are eliminated at once: each waits for those that hold it."""
        height: dict[int, int] = {}
        rounds: list[list[int]] = []
        for v in self.variables:
            mine = height.get(v, 0)
            while len(rounds) <= mine:
                rounds.append([])
            rounds[mine].append(v)
            for u in self.scopes[v]:
                height[u] = max(height.get(u, 0), mine + 1)
        return rounds

    def fits(self, budget: int) -> bool:
        """Tell whether no table is over a budget of entries, and all can be numbered."""
        return self.whole and self.largest <= budget and self.entries < MOST

    def excess(self, budget: int) -> str:
        """Say why it does not fit."""
        if self.largest > budget:
            least = "" if self.whole else "at least "
            whole = f"; {self.entries} entries in all" if self.whole else ""
            return (
                f"needs a table of {least}{self.largest} entries (induced width {self.width}), more than the budget of "
                f"{budget}{whole}"
            )
        if self.whole:
            return f"needs {self.entries} table entries, more than can be numbered"
        return f"has no order that was found within {operations_of(self.structure)} operations"

    @cached_property
    def places(self) -> Places:
        """Where the numbers stand; not before the order is known to fit a budget, as it takes memory, too."""
        return placed(self.structure, self.variables, self.scopes, self.rounds)


class _Search:
    """An order in the making.

    Attributes:
        near: those that each variable meets in a factor or in a table, of those that are left.
        left: operations that are left.
    """

    def __init__(self, structure: Structure, operations: float) -> None:
        self.structure, self.near, self.left = structure, neighbours_of(structure), operations
        self.variables: list[int] = []
        self.scopes: dict[int, Iterable[int]] = {}
        self._logs = np.log2(structure.cardinalities).tolist()
        self._widest = False

    @property
    def going(self) -> bool:
        """Whether operations are left, and all tables so far can be numbered."""
        return self.left > 0 and not self._widest

    def take_out(self, v: int) -> set[int]:
        """Join the neighbours of a variable, which meet in the table that it leaves, and give them."""
        around = self.near[v]
        self.left -= TURN + len(around) ** 2
        self._widest |= self._logs[v] + sum(self._logs[u] for u in around) > LOG_MOST
        self.variables.append(v)
        self.scopes[v] = around
        for u in around if self.going else ():
            self.near[u] |= around
            self.near[u] -= {u, v}
        return around

    def order(self, rule: str) -> Order:
        """Give what was found, each scope in the order in which it is eliminated."""
        turn = {v: k for k, v in enumerate(self.variables)}
        last = len(turn)
        inward = {v: tuple(sorted(self.scopes[v], key=lambda u: (turn.get(u, last), u))) for v in self.variables}
        return Order(self.structure, rule, tuple(self.variables), inward, last == self.structure.size and self.going)


LOG_MOST = math.log2(MOST)


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


def greedy(structure: Structure, rule: str, operations: float = math.inf) -> Order:
    """Eliminate, at each turn, a variable of least cost; ties by number.

    Args:
        structure: the graph.
        rule: "min-fill" (pairs of neighbours that do not meet yet), "min-degree" (neighbours), or "min-weight" (size
            of the table).
        operations: how many the search may take.
    """
    cards, search = structure.cardinalities, _Search(structure, operations)
    cost, near = RULES[rule], search.near
    heap = [(cost(v, near, cards), v) for v in range(structure.size)]
    heapq.heapify(heap)
    current = {v: c for c, v in heap}
    while heap and search.going:
        value, v = heapq.heappop(heap)
        if current.get(v) != value:
            continue
        del current[v]
        touched = set(around := search.take_out(v))
        if rule == "min-fill":
            touched.update(*(near[u] for u in around))
        for u in touched if search.going else ():
            search.left -= TURN + len(near[u]) ** POWERS[rule]
            value = cost(u, near, cards)
            if current[u] != value:
                current[u] = value
                heapq.heappush(heap, (value, u))
    return search.order(rule)


def _fill(v: int, near: Neighbours, cards: np.ndarray) -> float:
    around = near[v]
    return sum(len(around - near[u]) - 1 for u in around) / 2


def _degree(v: int, near: Neighbours, cards: np.ndarray) -> float:
    return float(len(near[v]))


def _weight(v: int, near: Neighbours, cards: np.ndarray) -> float:
    return math.log(cards[v]) + sum(math.log(cards[u]) for u in near[v])


RULES: Mapping[str, Cost] = {"min-fill": _fill, "min-degree": _degree, "min-weight": _weight}
POWERS = {"min-fill": 2, "min-degree": 0, "min-weight": 1}  # operations of a cost, as a power of the neighbours


def in_rounds(structure: Structure, operations: float = math.inf, seed: int = 0) -> Order:
    """Eliminate in rounds of variables that do not meet: those that leave no larger table than they found.

    A variable with at most two neighbours is ready; where none is, those with the fewest neighbours are. A ready
    variable is taken where its random rank is below those of its ready neighbours. On a forest of n variables about
    log n rounds are needed, however long its paths are: it is the contraction of a tree.

    Reference: Miller and Reif (1985), Parallel tree contraction and its application; Luby (1986), A simple parallel
    algorithm for the maximal independent set problem.
    """
    search = _Search(structure, operations)
    near = search.near
    rank = np.random.default_rng(seed).permutation(structure.size).tolist()
    by_degree: dict[int, set[int]] = defaultdict(set)  # so that a round costs what is ready, not what is left
    for v, around in enumerate(near):
        by_degree[len(around)].add(v)
    while by_degree and search.going:
        least = max(2, min(by_degree))
        ready = set().union(*(many for degree, many in by_degree.items() if degree <= least))
        taken = sorted(v for v in ready if all(u not in ready or rank[v] < rank[u] for u in near[v]))
        changed = set(taken).union(*(near[v] for v in taken))
        for v in changed:
            _leave(by_degree, len(near[v]), v)
        for v in taken:
            search.take_out(v)
        for v in changed.difference(taken):
            by_degree[len(near[v])].add(v)
    return search.order("rounds")


def _leave(by_degree: dict[int, set[int]], degree: int, v: int) -> None:
    by_degree[degree].remove(v)
    if not by_degree[degree]:
        del by_degree[degree]


@lru_cache(maxsize=256)
def orders_of(structure: Structure, rule: str | None = None) -> tuple[Order, ...]:
    """Seek orders, once for each structure.

    Args:
        structure: of the graph.
        rule: "min-fill", "min-degree", "min-weight" or "rounds", as far as it goes; None tries them all, each for a
            number of operations.
    """
    assert not structure.counted, "counts are unfolded, or solved by messages, before"
    if rule is not None and rule not in (*RULES, "rounds"):
        raise LawfulError(f"order: expected one of {', '.join((*RULES, 'rounds'))}, or None, got {rule!r}.")
    operations = math.inf if rule else float(operations_of(structure))
    tried = (rule,) if rule else ("rounds", *(RULES if structure.size <= GREEDY_UP_TO else ()))
    return tuple(
        in_rounds(structure, operations) if name == "rounds" else greedy(structure, name, operations) for name in tried
    )


def operations_of(structure: Structure) -> int:
    """Count the operations that a search may take: linear in the graph."""
    return max(AT_LEAST, OPERATIONS * (structure.size + sum(g.size * g.arity**2 for g in structure.groups)))


def best_order(structure: Structure, rule: str | None = None, budget: int = MOST) -> Order:
    """Take the order of the least work among those that fit a budget; where none does, that of the smallest tables.

    The work is table entries, and what each round costs besides.
    """
    found = orders_of(structure, rule)
    fitting = [order for order in found if order.fits(budget)]
    if fitting:
        return min(fitting, key=lambda order: order.entries + ROUND * len(order.rounds))
    return min(found, key=lambda order: (not order.whole, order.largest))


def least_largest(structure: Structure, enough: float = math.inf) -> float:
    """Bound the base-2 logarithm of the largest table from below, whatever the order.

    In any graph the variable that goes first leaves a table of its own states and those of its neighbours. What one
    order needs of a graph it needs at least of a graph with an edge contracted, where the two variables become one with
    the states of the smaller. So the smallest first table bounds the largest one, in the graph and in all that comes of
    it as that variable is contracted with a neighbour, of those with the fewest neighbours in common.

    Args:
        structure: of the graph.
        enough: a bound that need not be exceeded further.

    >>> from ..model.graph import FactorGraph
    >>> graph = FactorGraph()
    >>> z = graph.variables("z", shape=(4,), cardinality=2)
    >>> graph.factors("ring", [z, z[[1, 2, 3, 0]]], np.zeros((2, 2)))
    >>> round(2 ** least_largest(graph.structure))
    8
    """
    near, size, found = neighbours_of(structure), PART, 0.0
    while size < structure.size and found <= enough:  # a bound for a part of the graph is one for the whole
        found, size = _contracted(structure, _part(near, size), enough), 2 * size
    return found if found > enough else _contracted(structure, dict(enumerate(near)), enough)


def _part(near: Neighbours, size: int) -> dict[int, set[int]]:
    """Cut a part of some size out of a graph, around a variable of the most neighbours."""
    part = [max(range(len(near)), key=lambda v: len(near[v]))]
    there = set(part)
    for v in part:
        if len(part) < size:
            part += sorted(near[v] - there)
            there |= near[v]
    return {v: near[v] & there for v in part}


def _contracted(structure: Structure, near: dict[int, set[int]], enough: float) -> float:
    """Contract a graph, using its sets of neighbours up, until the bound is enough or no operations are left."""
    cards = structure.cardinalities.tolist()
    logs = {v: int(SCALE * math.log2(cards[v])) for v in near}  # whole numbers do not drift
    weight = {v: logs[v] + sum(logs[u] for u in around) for v, around in near.items()}
    heap = [(own, v) for v, own in weight.items()]
    heapq.heapify(heap)
    found, left = 0, operations_of(structure)
    while heap and found <= SCALE * enough and left > 0:
        value, v = heapq.heappop(heap)
        if weight.get(v) != value:
            continue
        del weight[v]
        found, around = max(found, value), near.pop(v)
        if not around:
            continue
        into = min(around, key=lambda u: (len(near[u] & around), u))
        new, less = around - near[into] - {into}, max(logs[into] - logs[v], 0)
        weight[into] += sum(logs[u] for u in new) - logs[v] - less
        for u in around:
            near[u].remove(v)
            weight[u] -= 0 if u == into else logs[v]
        for u in new:
            near[u].add(into)
            weight[u] += logs[into]
        near[into] |= new
        logs[into] -= less
        changed = around | near[into] if less else around
        for u in changed:
            weight[u] -= 0 if u == into else less
            heapq.heappush(heap, (weight[u], u))
        left -= len(around) ** 2 + TURN * len(changed)
    return found / SCALE
