"""Inference on a graph: one call for every method, which says what it would do before it does it.

Law: an exact method is taken where its tables fit the budget; an approximation is taken only where it was asked for or
allowed, and the answer says so. Exact marginals, mass, best assignment and draws are those of the graph's measure, to
rounding, whatever the plan, and a graph over budget is refused with the sizes, before anything is allocated. The first
queries of a structure are computed by NumPy where that is possible, since few do not pay for a compilation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np

from lawful.errors import LawfulError, WidthError
from lawful.form.arguments.calls import refuse_unknown

from .exact.chained import Chained
from .exact.elimination import Places, drawn, largest, marginals, observed, total
from .exact.pendants import LEAST
from .exact.plans import BUDGET, Order, Plan, Way, way_of
from .loopy.descents import deciding, drawing, uniforms_needed
from .loopy.forests import by_messages, mass_and_marginals, sweeps_needed
from .loopy.propagation import propagated
from .model.beliefs import Beliefs, layout_of, verdict_of
from .model.graph import FactorGraph, graph_of
from .model.potentials import Potentials, Scores, traced
from .model.structure import Structure
from .model.unfolding import tabled

ASKED = "it was asked for"
METHODS = ("auto", "exact", "eliminate", "junction", "tree", "chain", "loopy")
SAME = {"eliminate": "exact", "junction": "exact"}  # one elimination and back calibrates all tables of its cliques
CONSTANTS_UP_TO = 1 << 16
NUMPY_QUERIES = 100


def plan(graph: FactorGraph, method: str = "auto", width_budget: int = BUDGET) -> Plan:
    """Plan an inference, without touching a number.

    >>> graph = FactorGraph()
    >>> z = graph.variables("z", shape=(4,), cardinality=3)
    >>> graph.factors("step", [z[:-1], z[1:]], [[0.0] * 3] * 3)
    >>> plan(graph).method
    'exact'
    """
    return _planned(graph, method, width_budget)[0]


def _planned(graph: FactorGraph, method: str, budget: int) -> tuple[Plan, Way]:
    """Plan an inference, and say how the graph is solved where that is done exactly."""
    if method not in METHODS:
        raise LawfulError(f"method: expected one of {', '.join(METHODS)}, got {method!r}.")
    method, structure = SAME.get(method, method), graph.structure
    if method == "tree" and not structure.is_forest:
        raise LawfulError("method='tree': the graph has a cycle. Fix: method='exact', or method='loopy'.")
    way = way_of(structure, None, True if method == "chain" else None)
    return _without_tables(way, method, budget) or _with_tables(way, method, budget), way


def _with_tables(way: Way, method: str, budget: int) -> Plan:
    """Plan for tables, which counts are written as."""
    split, found = way.split, way.plan
    if method == "chain" and split is None:
        raise LawfulError(
            f"method='chain': no path of {LEAST} variables or more, with equal numbers of states and factors of two "
            "variables, hangs from the graph at one end or stands alone. Fix: method='exact'."
        )
    if method == "loopy":
        chosen, reason = "loopy", ASKED
    elif found.largest <= budget or method in ("exact", "tree", "chain"):
        chosen, reason = "exact", f"its largest table fits the budget of {budget} entries"
    else:
        chosen, reason = "loopy", f"the largest table is over the budget of {budget} entries"
    entries, forest = found.entries, way.structure.is_forest
    chains = (0, 0) if split is None or chosen == "loopy" else (split.pendants.paths, split.pendants.variables)
    return Plan(chosen, reason, forest, found.width, found.largest, entries, 8 * entries, len(found.rounds), *chains)


def _without_tables(way: Way, method: str, budget: int) -> Plan | None:
    """Plan for counts that are not written as tables: on a forest, or where these would be over budget."""
    structure, asked = way.structure, method == "loopy"
    if not structure.counted:
        return None
    if way.messages:
        size = structure.bipartite.nnz
        reason = ASKED if asked else f"{sweeps_needed(structure)} sweeps of messages are exact on a forest"
        return Plan("loopy" if asked else "exact", reason, True, 1, 0, size, 8 * size, 0, by="messages")
    needed = way.counts
    if needed <= budget or method == "chain":
        return None
    exact = method in ("exact", "tree")
    reason = f"counts as tables are over the budget of {budget} entries"
    reason = ASKED if asked else f"it was asked for, and {reason}" if exact else reason
    forest = structure.is_forest
    return Plan("exact" if exact else "loopy", reason, forest, 0, needed, needed, 8 * needed, 0, by="messages")


def infer(
    graph: FactorGraph,
    method: str = "auto",
    *,
    width_budget: int = BUDGET,
    approximate: bool = True,
    compiled: bool | None = None,
    **loopy: Any,
) -> Beliefs:
    """Give marginals and the total mass of a graph.

    Args:
        graph: the graph, with its evidence.
        method: "exact" eliminates the variables and goes back, which calibrates all tables as a junction tree does, so
            it is "eliminate" and "junction" too; "tree" does so on a forest, "chain" sums long paths that hang from the
            rest by loops, as the others do where it pays, "loopy" passes messages until they stay; "auto" is exact
            where the largest table fits the budget.
        width_budget: largest number of entries of a table.
        approximate: whether "auto" may pass messages instead.
        compiled: see `eliminated`.
        loopy: settings of `propagated`.

    Raises: WidthError where an exact answer is over budget and nothing else was allowed; LawfulError for a method or a
        setting that is not known, or a method that does not fit the graph.

    >>> import math
    >>> graph = FactorGraph()
    >>> rain = graph.variables("rain", log_potential=[math.log(0.8), math.log(0.2)])
    >>> wet = graph.variables("wet")
    >>> graph.factors("p(wet | rain)", [rain, wet], [[math.log(p) for p in row] for row in ([0.9, 0.1], [0.2, 0.8])])
    >>> infer(graph.observe({"wet": 1})).beliefs["rain"].round(4).tolist()
    [0.3333, 0.6667]
    """
    refuse_unknown("infer", loopy, infer, propagated)
    chosen, way = _planned(graph, method, width_budget)
    if chosen.method == "loopy" and method == "auto" and not approximate:
        raise WidthError(
            f"an exact answer was asked for, and {chosen.reason}: {chosen.largest} entries, width {chosen.width}. Fix: "
            "raise width_budget=, give evidence that cuts the graph, or allow approximate=True.",
            largest=chosen.largest, budget=width_budget, width=chosen.width,
        )  # fmt: skip
    if chosen.method == "loopy":
        return propagated(graph, **loopy)
    return _with_bags(solved(way, graph, width_budget, compiled), graph)


def _with_bags(found: Beliefs, graph: FactorGraph) -> Beliefs:
    """Name the bags whose count cannot be, where there is no mass: messages show it, and tables do not."""
    excluded = not isinstance(found.log_z, jax.core.Tracer) and bool(np.all(np.isneginf(found.log_z)))
    if not excluded or not graph.structure.counted or "impossible" in found.info:
        return found
    shown = propagated(graph, max_iters=1, certify=False, factors=False).info
    return replace(
        found, info={**found.info, "impossible": shown["impossible"]} if "impossible" in shown else found.info
    )


def eliminated(
    graph: FactorGraph,
    order: str | None = None,
    budget: int = BUDGET,
    compiled: bool | None = None,
    chains: bool | None = None,
) -> Beliefs:
    """Give exact marginals and the total mass.

    Args:
        graph: the graph, with its evidence.
        order: the rule of the order; None compares them.
        budget: largest number of entries of a table.
        compiled: whether to compile now; None compiles after a hundred queries. Traced numbers are always compiled.
        chains: whether long paths that hang from the rest are summed by loops, which are always compiled; None where
            that takes less time, and no `order` was asked for.

    Raises: WidthError for a graph that needs more.
    """
    return solved(way_of(graph.structure, order, chains), graph, budget, compiled)


def solved(way: Way, graph: FactorGraph, budget: int, compiled: bool | None) -> Beliefs:
    """Give exact marginals and the total mass in the way that was planned.

    Raises: WidthError as `eliminated`.
    """
    if way.messages:
        return by_messages(graph)
    way.refuse_over(budget)
    runner = runner_of(way, "marginals")
    log_z, variables, factors = runner(compiled, graph)
    return Beliefs(way.structure, variables, factors, log_z, verdict_of(log_z), method=runner.method)


def most_probable(
    graph: FactorGraph,
    order: str | None = None,
    budget: int = BUDGET,
    compiled: bool | None = None,
    chains: bool | None = None,
) -> tuple[dict[str, Any], Any]:
    """Find an assignment of the highest score, by states `(*shape)`, and the natural log of its measure.

    Of several the one with the lowest states, in the reverse order of elimination, is taken.

    Raises: WidthError as `eliminated`.
    """
    way = way_of(graph.structure, order, chains)
    way.refuse_over(budget)
    states, log_score = runner_of(way, "map")(compiled, graph)
    return graph.structure.by_name(states), log_score


def pushed(
    graph: FactorGraph,
    uniforms: Any,
    order: str | None = None,
    budget: int = BUDGET,
    compiled: bool | None = None,
    chains: bool | None = None,
) -> dict[str, Any]:
    """Turn uniforms, as many as `uniforms_of` says, into an exact draw of all variables, by states `(*shape)`."""
    way = way_of(graph.structure, order, chains)
    way.refuse_over(budget)
    return graph.structure.by_name(_drawn(way, graph, uniforms, compiled))


def log_mass(structure: Structure, potentials: Potentials, compiled: bool | None = None) -> Any:
    """Give the natural log of the total mass; its gradient is exact, and zero at what is excluded."""
    return runner_of(way_of(structure), "total")(compiled, graph_of(structure, potentials))


def drawn_states(structure: Structure, potentials: Potentials, uniforms: Any, compiled: bool | None = None) -> Any:
    """Turn uniforms, as many as `uniforms_of` says, into an exact draw of the states of all variables (n,)."""
    return _drawn(way_of(structure), graph_of(structure, potentials), uniforms, compiled)


def uniforms_of(structure: Structure) -> int:
    """Count the uniforms of a draw: one for each variable, and where there are counts some more."""
    return _uniforms(way_of(structure))


def _uniforms(way: Way) -> int:
    return uniforms_needed(way.structure) if way.messages else way.tables.size


def _drawn(way: Way, graph: FactorGraph, uniforms: Any, compiled: bool | None) -> Any:
    if np.shape(uniforms) != (needed := _uniforms(way),):
        raise LawfulError(f"a draw: expected uniforms of shape {(needed,)}, got {np.shape(uniforms)}.")
    return runner_of(way, "draw")(compiled, graph, uniforms)


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


@lru_cache(maxsize=256)
def runner_of(way: Way, what: str) -> Runner:
    """Make what answers a question: "marginals", "total", "map" or "draw"; messages have marginals of their own."""
    if way.messages:
        return _messages(way.structure, what)
    inner = _rounds(way.plan, what) if way.split is None else _chains(way.split, what)
    return _tabled(way.structure, inner, what) if way.structure.counted else inner


def _rounds(plan: Order, what: str) -> Runner:
    """Eliminate all variables, in rounds."""
    places, layout = plan.places, layout_of(plan.structure)
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
