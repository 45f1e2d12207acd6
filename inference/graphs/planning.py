"""Planning: who solves a graph, as one value that is made once, printed, and run as it says.

Law: an exact method is taken where its tables fit the budget; an approximation is taken only where it was asked for or
allowed, and the plan says so. A plan depends on the structure alone, not on potentials and evidence, and what runs it
decides nothing anew. Long paths are summed by loops where rounds of elimination would take longer; forests with counts
that are costly as tables are solved by messages. Planning takes a number of operations that is linear in the graph: an
order is not sought where a bound on the largest table of every order is over the budget, nor for messages. The first
queries of a structure are computed by NumPy where that is possible, since few do not pay for a compilation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Any, Literal

import jax
import numpy as np

from lawful.errors import LawfulError, WidthError

from .exact.chained import Chained
from .exact.elimination import Places, drawn, largest, marginals, observed, total
from .exact.orders import MOST, Order, best_order, least_largest
from .exact.pendants import LEAST, Pendants, worth_loops
from .loopy.descents import deciding, drawing
from .loopy.forests import by_messages, mass_and_marginals, sweeps_needed
from .loopy.propagation import propagated
from .loopy.schedules import schedule_of
from .model.beliefs import Beliefs, layout_of, verdict_of
from .model.graph import FactorGraph
from .model.potentials import Scores, traced
from .model.structure import Structure
from .model.unfolding import tabled, unfolded_structure, unfolding_entries

BUDGET = 1 << 24
CONSTANTS_UP_TO = 1 << 16  # numbers that a compiled program may hold
NUMPY_QUERIES = 100
UNFOLDED_UP_TO = 1 << 14  # entries of tables up to which counts on a forest are written as such
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
    tables = unfolded_structure(structure) if structure.counted else structure
    looped = chains is not False and order is None and tables.size >= LEAST
    pendants = worth_loops(tables, always) if looped else None
    if method == "chain" and pendants is None:
        raise LawfulError(
            f"method='chain': no path of {LEAST} variables or more, with equal numbers of states and factors of two "
            "variables, hangs from the graph at one end or stands alone. Fix: method='exact'."
        )
    core = tables if pendants is None else pendants.core
    within = math.log2(max(budget, 1))
    wide = float(np.log2(core.cardinalities).sum()) > within  # else no table can be over
    if method == "auto" and wide and (least := least_largest(core, within)) > within:
        over = f"the largest table is over the budget of {budget} entries, whatever the order"
        return _loopy(structure, f"{over}: 2^{least:.1f} or more", schedule)
    best = best_order(core, order, budget)
    refusal: WidthError | None = None
    if not best.fits(budget):
        told = best.excess(budget)
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


def _loopy(structure: Structure, reason: str, schedule: str) -> Plan:
    return Plan(structure, "loopy", reason, schedule=schedule_of(structure, schedule))


def _refusal(told: str, instead: str, **sizes: int) -> WidthError:
    return WidthError(
        f"an exact answer was asked for, and elimination {told}. Fix: raise width_budget=, {instead}or accept an "
        "approximation with method='loopy'.",
        **sizes,
    )


def solved(plan: Plan, graph: FactorGraph, compiled: bool | None = None, **loopy: Any) -> Beliefs:
    """Give marginals and the total mass as it was planned; `loopy` are settings of messages, but their schedule.

    Raises: WidthError where the plan is refused.
    """
    plan.refuse()
    if plan.schedule is not None:
        return propagated(graph, schedule=plan.schedule, **loopy)
    if plan.order is None:
        return by_messages(graph)
    log_z, variables, factors = answering(plan, "marginals")(compiled, graph)
    found = Beliefs(plan.structure, variables, factors, log_z, verdict_of(log_z), method=plan.solver)
    return _with_bags(found, graph) if plan.structure.counted else found


def _with_bags(found: Beliefs, graph: FactorGraph) -> Beliefs:
    """Name the bags whose count cannot be, where there is no mass: messages show it, and tables do not."""
    if isinstance(found.log_z, jax.core.Tracer) or not np.all(np.isneginf(found.log_z)):
        return found
    shown = propagated(graph, max_iters=1, certify=False, factors=False).info
    return replace(found, info={name: shown[name] for name in ("impossible",) if name in shown})


@dataclass(eq=False)
class Runner:
    """What answers one question to the graphs of one structure.

    Marginals are log Z, those of the families, and those of the groups; a best assignment is states of all variables
    (n,) and their log score; a draw is states of all variables.

    Attributes:
        compiled: a function of a graph, and for a draw of uniforms.
        plain: the same by NumPy; None where that would take too long.
        method: how the answer is found, for people.
        queries: how often it was asked.
    """

    compiled: Callable[..., Any]
    plain: Callable[..., Any] | None = None
    method: str = "elimination"
    queries: int = 0

    def __call__(self, compiled: bool | None, graph: FactorGraph, *more: Any) -> Any:
        """Answer; `compiled` says whether to compile now, None after a hundred queries."""
        self.queries += 1
        often = self.queries > NUMPY_QUERIES if compiled is None else compiled
        if often or self.plain is None or not graph.known or any(map(traced, more)):
            return self.compiled(graph, *more)
        return self.plain(graph, *map(np.asarray, more))


def answering(plan: Plan, what: str) -> Runner:
    """Give what answers a question: "marginals", "total", "map" or "draw"; messages have marginals of their own."""
    return runner_of(plan.structure, plan.order, plan.pendants, what)


@lru_cache(maxsize=256)
def runner_of(structure: Structure, order: Order | None, pendants: Pendants | None, what: str) -> Runner:
    """Make it, once for all plans that do the same."""
    if order is None:
        return _messages(structure, what)
    inner = _rounds(order, what) if pendants is None else _chains(_chained(pendants, order), what)
    return _tabled(structure, inner, what) if structure.counted else inner


_chained = lru_cache(maxsize=64)(Chained)


def _rounds(order: Order, what: str) -> Runner:
    """Eliminate all variables, in rounds."""
    places, layout = order.places, layout_of(order.structure)
    questions: dict[str, Callable[..., Any]] = {"marginals": marginals, "total": total, "map": largest, "draw": drawn}

    def answer(places: Places, scores: Scores, seen: Any, *more: Any) -> Any:
        found = questions[what](places, observed(places, scores, seen), *more)
        return layout.leaving(found) if what == "marginals" else found

    if sum(x.size for x in jax.tree.leaves(places)) <= CONSTANTS_UP_TO:
        program: Callable[..., Any] = jax.jit(partial(answer, places))
    else:  # as constants they would make compilation slow
        with jax.ensure_compile_time_eval():
            program = partial(jax.jit(answer), jax.device_put(places))

    def compiled(graph: FactorGraph, *more: Any) -> Any:
        found = program(graph.placed, graph.seen, *more)
        return layout.arrived(found) if what == "marginals" else found

    def plain(graph: FactorGraph, *more: Any) -> Any:
        found = answer(places, graph.scores, graph.seen, *more)
        return layout.arrived(found) if what == "marginals" else found

    return Runner(compiled, plain)


def _chains(split: Chained, what: str) -> Runner:
    """Sum long paths by loops, and eliminate the core."""
    questions: dict[str, Callable[..., Any]] = {
        "marginals": split.marginals,
        "total": split.total,
        "map": split.largest,
        "draw": split.draw,
    }
    program = partial(jax.jit(questions[what]), split.where)
    return Runner(lambda graph, *more: program(graph.potentials, *more), method="chains")


def _tabled(structure: Structure, inner: Runner, what: str) -> Runner:
    """Ask the tables that counts unfold to, and leave out of the answer what was added."""
    families, groups = len(structure.families), len(structure.groups)

    def asked(function: Callable[..., Any], graph: FactorGraph, *more: Any) -> Any:
        found = function(tabled(graph), *more)
        if what == "marginals":
            return found[0], found[1][:families], found[2][:groups]
        if what == "map":
            return found[0][: structure.size], found[1]
        return found[: structure.size] if what == "draw" else found

    plain = None if inner.plain is None else partial(asked, inner.plain)
    return Runner(partial(asked, inner.compiled), plain, inner.method)


def _messages(structure: Structure, what: str) -> Runner:
    """Solve a forest with counts by messages."""

    def best(graph: FactorGraph) -> tuple[Any, Any]:
        states = deciding(structure)(graph.potentials)
        return states, graph.log_score(structure.by_name(states))

    questions: dict[str, Callable[..., Any]] = {
        "total": lambda graph: mass_and_marginals(structure)(graph.potentials)[0],
        "map": best,
        "draw": lambda graph, uniforms: drawing(structure)(graph.potentials, uniforms),
    }
    return Runner(questions[what], method="messages on a forest")
