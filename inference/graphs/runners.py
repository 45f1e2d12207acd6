"""Runners: one question to one structure, by NumPy or compiled: marginals, the total, the best assignment, or a draw.

Law: a runner is a pure function of the numbers of a graph. What it has compiled serves every potential and all
evidence; the first queries of a structure are computed by NumPy where that is possible, since few do not pay for a
compilation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np

from lawful.errors import WidthError

from .exact.elimination import drawn, largest, marginals, total
from .exact.marginals import layout_of
from .exact.plans import by_messages_alone, chained_plan, elimination_plan, refuse_too_wide
from .exact.strips import strips_of
from .loopy.descents import drawing
from .loopy.forests import mass_and_marginals
from .model.evidence import traced
from .model.graph import FactorGraph
from .model.places import Places
from .model.potentials import Potentials
from .model.scores import Scores, observed
from .model.structure import Structure
from .model.unfolding import tabled, unfolded_structure, unfolding_entries

CONSTANTS_UP_TO = 1 << 16
NUMPY_QUERIES = 100


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


def runner_of(
    structure: Structure, order: str | None, what: str, budget: int | None = None, chains: bool | None = None
) -> Runner:
    """Find what answers a question, if it fits the budget.

    Args:
        structure: of the graph.
        order: the rule of an elimination; None compares them.
        what: "marginals", "total", "map" or "draw".
        budget: largest number of entries of a table; None for any.
        chains: whether long paths are summed by loops; None where that takes less time.

    Raises: WidthError, with the sizes.
    """
    if by_messages_alone(structure):
        return _messages(structure, what)
    if structure.counted:
        needed = unfolding_entries(structure)
        if budget is not None and needed > budget:
            raise WidthError(
                f"exact elimination would write the counts as tables of {needed} entries, more than the budget of "
                f"{budget}. Fix: raise width_budget=, or accept an approximation with method='loopy'.",
                largest=needed, budget=budget,
            )  # fmt: skip
        runner_of(unfolded_structure(structure), order, what, budget, chains)
        return _tabled(structure, order, what, chains)
    by_rounds = chains is False or order is not None
    split = None if by_rounds else chained_plan(structure, bool(chains))
    if split is None and not by_rounds and strips_of(structure) is not None:
        return _loops(structure, None, what)
    if budget is not None:
        refuse_too_wide(elimination_plan(structure, order) if split is None else split.plan, budget)
    return rounds(structure, order, what) if split is None else _loops(structure, bool(chains), what)


@lru_cache(maxsize=256)
def rounds(structure: Structure, order: str | None, what: str) -> Runner:
    """Eliminate all variables, in rounds."""
    places, layout = elimination_plan(structure, order).places, layout_of(structure)
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


@lru_cache(maxsize=256)
def _chain(structure: Structure, always: bool, what: str) -> Callable[..., Any]:
    """Sum long paths by loops, and eliminate the core: a function of the potentials."""
    split = chained_plan(structure, always)
    assert split is not None, "asked for a structure that has chains"
    questions: dict[str, Callable[..., Any]] = {
        "marginals": split.marginals,
        "total": split.total,
        "map": split.largest,
        "draw": split.draw,
    }
    return partial(jax.jit(questions[what]), split.where)


@lru_cache(maxsize=256)
def _levels(structure: Structure, what: str) -> Callable[..., Any]:
    """See a long narrow graph as the chain of its levels: a function of the potentials."""
    strips = strips_of(structure)
    assert strips is not None, "asked for a structure that is long and narrow"
    chain = _chain(strips.joint, True, what)

    def asked(where: Any, potentials: Potentials, *uniforms: Any) -> Any:
        found = chain(strips.potentials(where, potentials), *(u[where.first] for u in uniforms))
        if what == "marginals":
            log_z, (node,), (pairs, *constants) = found
            return log_z, *strips.marginals(where, node, pairs, constants)
        if what == "map":
            return strips.decoded(where, found[0]), found[1]
        return strips.decoded(where, found) if what == "draw" else found

    return partial(jax.jit(asked), strips.where)


@lru_cache(maxsize=256)
def _loops(structure: Structure, always: bool | None, what: str) -> Runner:
    """Sum chains by loops: those of a graph, or that of its levels where `always` is None."""
    program = _levels(structure, what) if always is None else _chain(structure, always, what)
    return Runner(lambda graph, *more: program(graph.potentials, *more), method="chains")


@lru_cache(maxsize=256)
def _tabled(structure: Structure, order: str | None, what: str, chains: bool | None) -> Runner:
    """Ask the tables that counts unfold to, and leave out of the answer what was added."""
    inner = runner_of(unfolded_structure(structure), order, what, chains=chains)
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


@lru_cache(maxsize=256)
def _messages(structure: Structure, what: str) -> Runner:
    """Solve a forest with counts by messages; its marginals and its best assignment have functions of their own."""
    questions: dict[str, Callable[..., Any]] = {
        "total": lambda graph: mass_and_marginals(structure)(graph.potentials)[0],
        "draw": lambda graph, uniforms: drawing(structure)(graph.potentials, uniforms),
    }
    return Runner(questions[what], method="messages on a forest")
