"""Plans: how a structure is solved exactly: the order of an elimination, long paths by loops, or messages alone.

Law: every order gives the same sum; the orders differ in the size of the tables on the way. A plan depends on the
structure alone, is found once for each, and serves every potential and all evidence; what it says of an inference is
what the inference does. Long paths are summed by loops where rounds of elimination would take longer; forests with
counts that are costly as tables are solved by messages.

Reference: Koller and Friedman (2009), Probabilistic graphical models, section 9.4.3.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from lawful.errors import LawfulError, WidthError

from ..model.structure import Structure
from ..model.unfolding import unfolded_structure, unfolding_entries
from .buckets import placed
from .chained import Chained
from .elimination import NOWHERE, Places
from .pendants import LEAST, pendants_of

BUDGET = 1 << 24
UNFOLDED_UP_TO = 1 << 14  # entries of tables up to which counts on a forest are written as such
CHAIN_WORK = 1 << 22  # entries that rounds would sum; fewer take less time than a loop takes to compile
CHAIN_VARIABLES = 1 << 14  # more take longer to plan as rounds
MIN_FILL_UP_TO = 3000
GREEDY_UP_TO = 20_000
ROUND = 10_000  # entries that take about as long as one round's overhead

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
    """

    structure: Structure
    rule: str
    variables: tuple[int, ...]
    scopes: Mapping[int, tuple[int, ...]]

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

    @cached_property
    def places(self) -> Places:
        """Where the numbers stand; not before the order is known to fit a budget, as it takes memory, too.

        Raises: WidthError for more than half a thousand million entries.
        """
        if self.entries >= -NOWHERE:
            raise WidthError(
                f"exact elimination needs {self.entries} table entries, more than can be numbered. Fix: give evidence "
                "that cuts the graph, or accept an approximation with method='loopy'.",
                largest=self.largest, width=self.width,
            )  # fmt: skip
        return placed(self.structure, self.variables, self.scopes, self.rounds)

    def __repr__(self) -> str:
        """Say in words what it takes."""
        return (
            f"elimination by {self.rule}: width {self.width}, {self.entries} table entries, the largest table "
            f"{self.largest}, {len(self.rounds)} rounds"
        )


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
    return _sorted(structure, rule, variables, scopes)


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
    return _sorted(structure, "rounds", variables, scopes)


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


def _sorted(structure: Structure, rule: str, variables: Sequence[int], scopes: Mapping[int, Iterable[int]]) -> Order:
    turn = {v: k for k, v in enumerate(variables)}
    inward = {v: tuple(sorted(scopes[v], key=turn.__getitem__)) for v in variables}
    return Order(structure, rule, tuple(variables), inward)


def best_order(structure: Structure) -> Order:
    """Compare the rules by the work: table entries, and what each round costs besides."""
    found = [in_rounds(structure)]
    if structure.size <= GREEDY_UP_TO:
        found += [greedy(structure, name) for name in RULES if name != "min-fill" or structure.size <= MIN_FILL_UP_TO]
    return min(found, key=lambda order: order.entries + ROUND * len(order.rounds))


@dataclass(frozen=True)
class Plan:
    """What an inference on a graph would do.

    Attributes:
        method: "exact" or "loopy".
        reason: why.
        forest: whether the graph has no cycle.
        width: induced width of the best order found.
        largest: entries of the largest table of an elimination.
        entries: entries of all its tables.
        bytes: memory of these in double precision.
        rounds: rounds of an elimination.
        chains: number of long paths that loops sum; the numbers above are then those of the rest.
        chained: number of variables in them.
        by: "elimination", or "messages" where counts are not written as tables; `largest` is what these would take.
    """

    method: str
    reason: str
    forest: bool
    width: int
    largest: int
    entries: int
    bytes: int
    rounds: int
    chains: int = 0
    chained: int = 0
    by: str = "elimination"

    def __str__(self) -> str:
        """Say it in words."""
        shape = "a forest" if self.forest else "with cycles"
        if self.by == "messages":
            return f"{self.method}: {self.reason}. The graph is {shape}, with {self.entries} pairs of who reads whom."
        rest = ""
        if self.chains:
            many = "1 chain" if self.chains == 1 else f"{self.chains} chains"
            rest = f"{many} of {self.chained} variables in all, summed by loops; of the rest "
        return (
            f"{self.method}: {self.reason}. The graph is {shape}; {rest}elimination has width {self.width}, "
            f"{self.rounds} rounds and {self.entries} table entries ({shown_bytes(self.bytes)}), the largest table "
            f"{self.largest}."
        )


def shown_bytes(size: int) -> str:
    """Write a number of bytes for people."""
    step = min(int(math.log(max(size, 1), 1024)), 3)
    return f"{size / 1024**step:.3g} {('B', 'KiB', 'MiB', 'GiB')[step]}"


class Way:
    """How a structure is solved exactly; what is not asked of it is not found out.

    Attributes:
        structure: of the graph.
        order: the rule of an elimination; None compares them.
        chains: whether long paths are summed by loops; None where that takes less time.
        messages: whether messages alone solve it: a forest with counts that are costly as tables.
    """

    def __init__(self, structure: Structure, order: str | None, chains: bool | None) -> None:
        """Decide on messages."""
        self.structure, self.order, self.chains = structure, order, chains
        costly = bool(structure.counted) and structure.is_forest
        self.messages = chains is not True and costly and unfolding_entries(structure, True) > UNFOLDED_UP_TO

    @cached_property
    def counts(self) -> int:
        """Number of entries of the tables that counts become."""
        return unfolding_entries(self.structure) if self.structure.counted else 0

    @cached_property
    def tables(self) -> Structure:
        """The structure with its counts written as tables."""
        return unfolded_structure(self.structure) if self.structure.counted else self.structure

    @cached_property
    def split(self) -> Chained | None:
        """The core and the chains; None where all variables are eliminated."""
        if self.chains is False or self.order is not None:
            return None
        return chained_plan(self.tables, bool(self.chains))

    @cached_property
    def plan(self) -> Order:
        """The elimination: of the core, or of all variables."""
        return elimination_plan(self.tables if self.split is None else self.split.pendants.core, self.order)

    def refuse_over(self, budget: int) -> None:
        """Refuse what is over budget before anything is allocated.

        Raises: WidthError, with the sizes.
        """
        if self.messages:
            return
        if self.counts > budget:
            raise WidthError(
                f"exact elimination would write the counts as tables of {self.counts} entries, more than the budget of "
                f"{budget}. Fix: raise width_budget=, or accept an approximation with method='loopy'.",
                largest=self.counts, budget=budget,
            )  # fmt: skip
        plan = self.plan
        if plan.largest > budget:
            raise WidthError(
                f"exact elimination needs a table of {plan.largest} entries (induced width {plan.width}), more "
                f"than the budget of {budget}; {plan.entries} entries in all. Fix: raise width_budget=, give evidence "
                "that cuts the graph (condition), or accept an approximation with method='loopy'.",
                largest=plan.largest, budget=budget, width=plan.width,
            )  # fmt: skip


@lru_cache(maxsize=256)
def way_of(structure: Structure, order: str | None = None, chains: bool | None = None) -> Way:
    """Say how a structure is solved, once for each."""
    return Way(structure, order, chains)


@lru_cache(maxsize=256)
def elimination_plan(structure: Structure, rule: str | None) -> Order:
    """Plan an elimination, once for each structure.

    Args:
        structure: of the graph.
        rule: "min-fill", "min-degree", "min-weight" or "rounds"; None compares them.
    """
    assert not structure.counted, "counts are unfolded, or solved by messages, before"
    if rule is None:
        return best_order(structure)
    if rule == "rounds":
        return in_rounds(structure)
    if rule not in RULES:
        raise LawfulError(f"order: expected one of {', '.join((*RULES, 'rounds'))}, or None, got {rule!r}.")
    return greedy(structure, rule)


def chained_plan(structure: Structure, always: bool = False) -> Chained | None:
    """Split a graph into a core and chains; None where rounds are as good.

    Rounds sum K^3 entries for each variable of a chain, a loop K^2, but it has to be compiled.
    """
    found = None if structure.size < LEAST else pendants_of(structure)
    if found is None:
        return None
    work = sum(
        int(places.lengths.sum()) * batch.states**3 for batch, places in zip(found.batches, found.places, strict=True)
    )
    if not always and work < CHAIN_WORK and found.variables < CHAIN_VARIABLES:
        return None
    return Chained(found, lambda: elimination_plan(found.core, None).places)
