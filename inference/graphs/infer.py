"""Infer: one call for every method, which says what it would do before it does it.

Law: an exact method is taken where its tables fit the budget; an approximation is taken only where it was asked for or
allowed, and the answer says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from lawful.errors import LawfulError, WidthError
from lawful.form.arguments.calls import refuse_unknown

from .exact.pendants import LEAST
from .exact.plans import BUDGET, Way, way_of
from .exact_inference import solved
from .loopy.forests import sweeps_needed
from .loopy.propagation import propagated
from .model.beliefs import Beliefs
from .model.graph import FactorGraph

ASKED = "it was asked for"
METHODS = ("auto", "exact", "eliminate", "junction", "tree", "chain", "loopy")
SAME = {"eliminate": "exact", "junction": "exact"}  # one elimination and back calibrates all tables of its cliques


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
    return Plan(chosen, reason, forest, found.order.width, found.largest, entries, 8 * entries, found.rounds, *chains)


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


def shown_bytes(size: int) -> str:
    """Write a number of bytes for people."""
    step = min(int(math.log(max(size, 1), 1024)), 3)
    return f"{size / 1024**step:.3g} {('B', 'KiB', 'MiB', 'GiB')[step]}"
