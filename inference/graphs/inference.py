"""Inference on a graph: what may be asked of it, each question one call for every method.

Law: exact marginals, mass and draws are those of the graph's measure, to rounding, whatever the plan, and a graph over
budget is refused with the sizes, before anything is allocated.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lawful.errors import LawfulError, refuse_unknown

from .loopy.descents import uniforms_needed
from .loopy.propagation import propagated
from .model.beliefs import Beliefs
from .model.graph import FactorGraph, graph_of
from .model.potentials import Potentials
from .planning import BUDGET, Plan, answering, exactly, planned, solved


def plan(graph: FactorGraph, method: str = "auto", width_budget: int = BUDGET, schedule: str = "flooding") -> Plan:
    """Plan an inference, without touching a number: what `infer` with the same settings does.

    >>> graph = FactorGraph()
    >>> z = graph.variables("z", shape=(4,), cardinality=3)
    >>> graph.factors("step", [z[:-1], z[1:]], [[0.0] * 3] * 3)
    >>> plan(graph).solver
    'elimination'
    """
    return planned(graph.structure, method, width_budget, schedule=schedule)


def infer(
    graph: FactorGraph,
    method: str = "auto",
    *,
    width_budget: int = BUDGET,
    approximate: bool = True,
    compiled: bool | None = None,
    **loopy: Any,
) -> Beliefs:
    """Give marginals and the total mass of a graph, as `plan` says.

    Args:
        graph: the graph, with its evidence.
        method: "exact" eliminates the variables and goes back, which calibrates all tables as a junction tree does, so
            it is "eliminate" and "junction" too; "tree" does so on a forest, "chain" sums long paths that hang from the
            rest by loops, as the others do where it pays, "loopy" passes messages until they stay; "auto" is exact
            where the largest table fits the budget.
        width_budget: largest number of entries of a table.
        approximate: whether "auto" may pass messages instead; else it is "exact".
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
    method = "exact" if method == "auto" and not approximate else method
    return solved(plan(graph, method, width_budget, loopy.pop("schedule", "flooding")), graph, compiled, **loopy)


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
    return solved(exactly(graph.structure, budget, order=order, chains=chains), graph, compiled)


def pushed(
    graph: FactorGraph,
    uniforms: Any,
    order: str | None = None,
    budget: int = BUDGET,
    compiled: bool | None = None,
    chains: bool | None = None,
) -> dict[str, Any]:
    """Turn uniforms, as many as `uniforms_of` says, into an exact draw of all variables, by states `(*shape)`.

    Raises: WidthError as `eliminated`.
    """
    plan = exactly(graph.structure, budget, order=order, chains=chains)
    return graph.structure.by_name(drawn_states(plan, graph, uniforms, compiled))


def log_mass(plan: Plan, potentials: Potentials, compiled: bool | None = None) -> Any:
    """Give the natural log of the total mass; its gradient is exact, and zero at what is excluded."""
    return answering(plan, "total")(compiled, graph_of(plan.structure, potentials))


def drawn_states(plan: Plan, graph: FactorGraph, uniforms: Any, compiled: bool | None = None) -> Any:
    """Turn uniforms, as many as `uniforms_of` says, into an exact draw of the states of all variables (n,)."""
    if np.shape(uniforms) != (needed := uniforms_of(plan),):
        raise LawfulError(f"a draw: expected uniforms of shape {(needed,)}, got {np.shape(uniforms)}.")
    return answering(plan, "draw")(compiled, graph, uniforms)


def uniforms_of(plan: Plan) -> int:
    """Count the uniforms of a draw: one for each variable, and where there are counts some more."""
    return uniforms_needed(plan.structure) if plan.order is None else plan.tables.size
