"""Planning: who solves a graph, as one value that is made once, printed, and run as it says.

Law: an exact method is taken where its tables fit the budget; an approximation is taken only where it was asked for or
allowed, and the plan says so. A plan depends on the structure alone, not on potentials and evidence, and nothing that
solves a graph decides anew. Long paths are summed by loops where rounds of elimination would take longer; forests with
counts that are costly as tables are solved by messages. Planning takes a number of operations that is linear in the
graph: an order is not sought where a bound on the largest table of every order is over the budget, nor for messages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

from lawful.errors import LawfulError, WidthError

from .exact.orders import MOST, Order, best_order, least_largest, operations_of
from .exact.pendants import LEAST, Pendants, pendants_of
from .loopy.forests import sweeps_needed
from .loopy.schedules import schedule_of
from .model.structure import Structure
from .model.unfolding import unfolded_structure, unfolding_entries

BUDGET = 1 << 24
UNFOLDED_UP_TO = 1 << 14  # entries of tables up to which counts on a forest are written as such
CHAIN_WORK = 1 << 22  # entries that rounds would sum; fewer take less time than a loop takes to compile
CHAIN_VARIABLES = 1 << 14  # more take longer to plan as rounds
ASKED = "it was asked for"
METHODS = ("auto", "exact", "eliminate", "junction", "tree", "chain", "loopy")
SAME = {"eliminate": "exact", "junction": "exact"}  # one elimination and back calibrates all tables of its cliques

type Solver = Literal["elimination", "chains", "messages on a forest", "loopy"]


@dataclass(frozen=True, eq=False)
class Plan:
    """Who solves a graph, how, why, and what it takes.

    Attributes:
        structure: of the graph.
        solver: "elimination" of all variables; "chains", loops along long paths and elimination of the rest; "messages
            on a forest", which are exact; or "loopy" messages.
        reason: why.
        order: of the elimination: of all variables, counts written as tables, or of the core beside the chains.
        pendants: the core and the chains.
        schedule: of loopy messages.
        refusal: why it cannot be run: what asked for an exact answer is over the budget.
    """

    structure: Structure
    solver: Solver
    reason: str
    order: Order | None = None
    pendants: Pendants | None = None
    schedule: str | None = None
    refusal: WidthError | None = None

    @property
    def method(self) -> str:
        """Whether the answer is "exact" or "loopy"."""
        return "loopy" if self.solver == "loopy" else "exact"

    @property
    def forest(self) -> bool:
        """Whether the graph has no cycle."""
        return self.structure.is_forest

    @property
    def tables(self) -> Structure:
        """The structure as it is solved: for an elimination with its counts written as tables."""
        return (self.pendants or self.order or self).structure

    @property
    def width(self) -> int:
        """Induced width of the elimination; 0 where there is none."""
        return 0 if self.order is None else self.order.width

    @cached_property
    def largest(self) -> int:
        """Entries of the largest table; of messages, which have none, the most states of a variable."""
        if self.order is None:
            known = {} if self.refusal is None else self.refusal.fields
            return int(known.get("largest", max(self.structure.counts, default=0)))
        return self.order.largest

    @cached_property
    def entries(self) -> int:
        """Entries of all tables of the elimination, or numbers that a sweep of messages sends from factors."""
        if self.order is not None:
            return self.order.entries
        ends, cards = self.structure.bipartite.row, self.structure.cardinalities
        return int(cards[ends].sum())

    @property
    def bytes(self) -> int:
        """Memory of these in double precision."""
        return 8 * self.entries

    @property
    def rounds(self) -> int:
        """Rounds of the elimination, or sweeps of messages on a forest; 0 where messages go until they stay."""
        if self.order is not None:
            return len(self.order.rounds)
        return sweeps_needed(self.structure) if self.solver == "messages on a forest" else 0

    @property
    def chains(self) -> int:
        """Number of long paths that loops sum; width, rounds and tables are then those of the rest."""
        return 0 if self.pendants is None else self.pendants.paths

    @property
    def chained(self) -> int:
        """Number of variables in them."""
        return 0 if self.pendants is None else self.pendants.variables

    def refuse(self) -> None:
        """Refuse what is over budget, before anything is allocated.

        Raises: WidthError, with the sizes.
        """
        if self.refusal is not None:
            raise WidthError(str(self.refusal), **self.refusal.fields)

    def __str__(self) -> str:
        """Say it in words."""
        if self.refusal is not None:
            return f"{self.method}, refused: {self.refusal}"
        shape, rest = "a forest" if self.forest else "with cycles", ""
        if self.order is None:
            turns = f"{self.rounds} sweeps" if self.schedule is None else f"a sweep ({self.schedule})"
            numbers = f"messages of {self.entries} numbers ({shown_bytes(self.bytes)}) in {turns}"
            return f"{self.method}: {self.reason}. The graph is {shape}; {numbers}."
        if self.chains:
            many = "1 chain" if self.chains == 1 else f"{self.chains} chains"
            rest = f"{many} of {self.chained} variables in all, summed by loops; of the rest "
        return (
            f"{self.method}: {self.reason}. The graph is {shape}; {rest}elimination by {self.order.rule} has width "
            f"{self.width}, {self.rounds} rounds and {self.entries} table entries ({shown_bytes(self.bytes)}), the "
            f"largest table {self.largest}."
        )


def shown_bytes(size: int) -> str:
    """Write a number of bytes for people."""
    step = min(int(math.log(max(size, 1), 1024)), 3)
    return f"{size / 1024**step:.3g} {('B', 'KiB', 'MiB', 'GiB')[step]}"


@lru_cache(maxsize=256)
def planned(
    structure: Structure,
    method: str = "auto",
    budget: int = BUDGET,
    *,
    order: str | None = None,
    chains: bool | None = None,
    schedule: str = "flooding",
) -> Plan:
    """Say who solves a graph, once for each structure.

    Args:
        structure: of the graph.
        method: "exact", "tree", "chain", "loopy", or "auto": exact where the largest table fits the budget.
        budget: largest number of entries of a table.
        order: the rule of the order of elimination; None compares them.
        chains: whether long paths are summed by loops; None where that takes less time, and no `order` was asked for.
        schedule: of loopy messages.

    Raises: LawfulError for a method that is not known, or does not fit the graph.
    """
    if method not in METHODS:
        raise LawfulError(f"method: expected one of {', '.join(METHODS)}, got {method!r}.")
    method = SAME.get(method, method)
    if method == "loopy":
        return _loopy(structure, ASKED, schedule)
    if method == "tree" and not structure.is_forest:
        raise LawfulError("method='tree': the graph has a cycle. Fix: method='exact', or method='loopy'.")
    always = method == "chain" or chains is True
    if structure.counted and not always and structure.is_forest:
        if unfolding_entries(structure, each=True) > UNFOLDED_UP_TO:
            reason = f"{sweeps_needed(structure)} sweeps of messages are exact on a forest"
            return Plan(structure, "messages on a forest", reason)
    if structure.counted and (needed := unfolding_entries(structure)) > budget:
        if method == "auto":
            return _loopy(structure, f"counts as tables are over the budget of {budget} entries", schedule)
        told = f"would write the counts as tables of {needed} entries, more than the budget of {budget}"
        return Plan(structure, "elimination", ASKED, refusal=_refusal(told, "", largest=needed, budget=budget))
    tables = unfolded_structure(structure)
    pendants = None if chains is False or order is not None else worth_loops(tables, always)
    if method == "chain" and pendants is None:
        raise LawfulError(
            f"method='chain': no path of {LEAST} variables or more, with equal numbers of states and factors of two "
            "variables, hangs from the graph at one end or stands alone. Fix: method='exact'."
        )
    core = tables if pendants is None else pendants.core
    within = math.log2(max(budget, 1))
    if method == "auto" and (least := least_largest(core, within)) > within:
        over = f"the largest table is over the budget of {budget} entries, whatever the order"
        return _loopy(structure, f"{over}: 2^{least:.1f} or more", schedule)
    best = best_order(core, order, budget)
    refusal: WidthError | None = None
    if not best.fits(budget):
        told = _excess(best, budget)
        if method == "auto":
            return _loopy(structure, f"elimination {told}", schedule)
        cut = "give evidence that cuts the graph (condition), "
        refusal = _refusal(told, cut, largest=best.largest, budget=budget, width=best.width)
    reason = f"its largest table fits the budget of {budget} entries"
    return Plan(structure, "chains" if pendants else "elimination", reason, best, pendants, refusal=refusal)


def exactly(structure: Structure, budget: int = MOST, **how: Any) -> Plan:
    """Plan an exact answer, at any price by default.

    Raises: WidthError where it is over budget, with the sizes.
    """
    plan = planned(structure, "exact", budget, **how)
    plan.refuse()
    return plan


def worth_loops(structure: Structure, always: bool = False) -> Pendants | None:
    """Split a graph into a core and chains; None where rounds are as good.

    Rounds sum K^3 entries for each variable of a chain, a loop K^2, but it has to be compiled.
    """
    found = None if structure.size < LEAST else pendants_of(structure)
    if found is None or always:
        return found
    ends = zip(found.batches, found.places, strict=True)
    work = sum(int(places.lengths.sum()) * batch.states**3 for batch, places in ends)
    return found if work >= CHAIN_WORK or found.variables >= CHAIN_VARIABLES else None


def _loopy(structure: Structure, reason: str, schedule: str) -> Plan:
    return Plan(structure, "loopy", reason, schedule=schedule_of(structure, schedule))


def _excess(best: Order, budget: int) -> str:
    """Say why the best order that was found does not fit."""
    if best.largest > budget:
        least = "" if best.whole else "at least "
        whole = f"; {best.entries} entries in all" if best.whole else ""
        return (
            f"needs a table of {least}{best.largest} entries (induced width {best.width}), more than the budget of "
            f"{budget}{whole}"
        )
    if best.whole:
        return f"needs {best.entries} table entries, more than can be numbered"
    return f"has no order that was found within {operations_of(best.structure)} operations"


def _refusal(told: str, instead: str, **sizes: int) -> WidthError:
    return WidthError(
        f"an exact answer was asked for, and elimination {told}. Fix: raise width_budget=, {instead}or accept an "
        "approximation with method='loopy'.",
        **sizes,
    )
