"""Inference on a graph: one call for every method, which runs what `planning` has planned, and decides nothing.

Law: exact marginals, mass, best assignment and draws are those of the graph's measure, to rounding, whatever the plan,
and a graph over budget is refused with the sizes, before anything is allocated. The first queries of a structure are
computed by NumPy where that is possible, since few do not pay for a compilation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np

from lawful.errors import LawfulError
from lawful.form.arguments.calls import refuse_unknown

from .exact.chained import Chained
from .exact.elimination import Places, drawn, largest, marginals, observed, total
from .exact.orders import Order
from .exact.pendants import Pendants
from .loopy.descents import deciding, drawing, uniforms_needed
from .loopy.forests import by_messages, mass_and_marginals
from .loopy.propagation import propagated
from .model.beliefs import Beliefs, layout_of, verdict_of
from .model.graph import FactorGraph, graph_of
from .model.potentials import Potentials, Scores, traced
from .model.structure import Structure
from .model.unfolding import tabled
from .planning import BUDGET, Plan, exactly, planned

CONSTANTS_UP_TO = 1 << 16
NUMPY_QUERIES = 100


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
