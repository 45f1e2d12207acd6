"""Exact inference: marginals, total mass, best assignment and draws of a graph, as its way was planned.

Law: the certificate is "exact". An answer is a pure function of the numbers of a graph. What was planned and compiled
for a structure serves every potential and all evidence; the first queries of a structure are computed by NumPy where
that is possible, since few do not pay for a compilation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np

from lawful.errors import LawfulError

from .exact.buckets import Plan
from .exact.chained import Chained
from .exact.elimination import Places, drawn, largest, marginals, observed, total
from .exact.plans import BUDGET, Way, way_of
from .loopy.descents import deciding, drawing, uniforms_needed
from .loopy.forests import by_messages, mass_and_marginals
from .model.beliefs import Beliefs, layout_of, verdict_of
from .model.graph import FactorGraph, graph_of
from .model.potentials import Potentials, Scores, traced
from .model.structure import Structure
from .model.unfolding import tabled

CONSTANTS_UP_TO = 1 << 16
NUMPY_QUERIES = 100


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
    return by_name(graph.structure, states), log_score


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
    return by_name(graph.structure, _drawn(way, graph, uniforms, compiled))


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


def by_name(structure: Structure, states: Any) -> dict[str, Any]:
    """Split states of all variables (n,) by name."""
    return {
        family.name: states[family.offset : family.offset + family.size].reshape(family.shape)
        for family in structure.families
    }


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


def _rounds(plan: Plan, what: str) -> Runner:
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
        return states, graph.log_score(by_name(structure, states))

    questions: dict[str, Callable[..., Any]] = {
        "total": lambda graph: mass_and_marginals(structure)(graph.potentials)[0],
        "map": best,
        "draw": lambda graph, uniforms: drawing(structure)(graph.potentials, uniforms),
    }
    return Runner(questions[what], method="messages on a forest")
