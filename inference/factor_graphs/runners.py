"""Runners: one question to one structure, by NumPy or compiled: marginals, the total, the best assignment, or a draw.

Law: a runner is a pure function of the numbers. What it has compiled serves every potential and all evidence; the first
queries of a structure are computed by NumPy where that is possible, since few do not pay for a compilation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np

from lawful.errors import WidthError

from .descents import drawing
from .elimination import backward, by_uniform, decode, forward, highest
from .evidence import traced
from .forests import mass_and_marginals
from .packing import packing_of
from .plans import by_messages_alone, chained_plan, elimination_plan, refuse_too_wide
from .potentials import Potentials
from .results import by_family, by_group
from .strips import strips_of
from .structure import Structure
from .unfolding import unfolded_potentials, unfolded_structure, unfolding_entries

CONSTANTS_UP_TO = 1 << 16
NUMPY_QUERIES = 100


@dataclass(eq=False)
class Runner:
    """What answers one question to one structure.

    Marginals are log Z, those of the families, and those of the groups; a best assignment is states of all variables
    (n,) and their log score; a draw is states of all variables.

    Attributes:
        compiled: a function of the potentials, and for a draw of uniforms.
        plain: the same by NumPy; None where that would take too long.
        method: how the answer is found, for people.
        queries: how often it was asked.
    """

    compiled: Callable[..., Any]
    plain: Callable[..., Any] | None = None
    method: str = "elimination"
    queries: int = 0

    def __call__(self, compiled: bool | None, potentials: Potentials, *more: Any) -> Any:
        """Answer; `compiled` says whether to compile now, None after a hundred queries."""
        self.queries += 1
        often = self.queries > NUMPY_QUERIES if compiled is None else compiled
        if often or self.plain is None or any(map(traced, (*potentials.unary, *potentials.tables, *more))):
            return self.compiled(potentials, *more)
        concrete = Potentials(tuple(map(np.asarray, potentials.unary)), tuple(map(np.asarray, potentials.tables)))
        return self.plain(concrete, *map(np.asarray, more))


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
        return _levels(structure, what)
    if budget is not None:
        refuse_too_wide(elimination_plan(structure, order) if split is None else split.plan, budget)
    return rounds(structure, order, what) if split is None else _loops(structure, bool(chains), what)


@lru_cache(maxsize=256)
def rounds(structure: Structure, order: str | None, what: str) -> Runner:
    """Eliminate all variables, in rounds."""
    plan = elimination_plan(structure, order)
    steps = plan.steps

    def marginals(places: Any, potentials: Potentials) -> Any:
        run = forward(steps, places, potentials)
        found = backward(steps, places, run)
        variables = by_family(structure, found.variables, run.log_total.dtype)
        return run.log_total, variables, by_group(structure, plan, places, found, run.log_total)

    def total(places: Any, potentials: Potentials) -> Any:
        return forward(steps, places, potentials).log_total

    def largest(places: Any, potentials: Potentials) -> Any:
        run = forward(steps, places, potentials, "max")
        return decode(steps, places, run, structure.size, highest), run.log_total

    def draw(places: Any, potentials: Potentials, uniforms: Any) -> Any:
        run = forward(steps, places, potentials)
        return decode(steps, places, run, structure.size, by_uniform(uniforms))

    questions: dict[str, Callable[..., Any]] = {"marginals": marginals, "total": total, "map": largest, "draw": draw}
    places = jax.tree.map(lambda x: x.astype(np.int32), plan.places)  # single precision has no longer indices
    plain = function = questions[what]
    packing = packing_of(structure) if what == "marginals" else None
    if packing is not None:
        function = packing.packed(plain)
    if sum(x.size for x in jax.tree.leaves(places)) <= CONSTANTS_UP_TO:
        program: Callable[..., Any] = jax.jit(partial(function, places))
    else:  # as constants they would make compilation slow
        program = partial(jax.jit(function), places)
    return Runner(program if packing is None else packing.unpacked(program), partial(plain, places))


@lru_cache(maxsize=256)
def _loops(structure: Structure, always: bool, what: str) -> Runner:
    """Sum long paths by loops, and eliminate the core."""
    split = chained_plan(structure, always)
    assert split is not None, "asked for a structure that has chains"
    questions: dict[str, Callable[..., Any]] = {
        "marginals": split.marginals,
        "total": split.total,
        "map": split.largest,
        "draw": split.draw,
    }
    return Runner(partial(jax.jit(questions[what]), split.where), method="chains")


@lru_cache(maxsize=256)
def _levels(structure: Structure, what: str) -> Runner:
    """See a long narrow graph as the chain of its levels."""
    strips = strips_of(structure)
    assert strips is not None, "asked for a structure that is long and narrow"
    chain = _loops(strips.joint, True, what)

    def asked(where: Any, potentials: Potentials, *uniforms: Any) -> Any:
        found = chain.compiled(strips.potentials(where, potentials), *(u[where.first] for u in uniforms))
        if what == "marginals":
            log_z, (node,), (pairs, *constants) = found
            return log_z, *strips.marginals(where, node, pairs, constants)
        if what == "map":
            return strips.decoded(where, found[0]), found[1]
        return strips.decoded(where, found) if what == "draw" else found

    return Runner(partial(jax.jit(asked), strips.where), method="chains")


@lru_cache(maxsize=256)
def _tabled(structure: Structure, order: str | None, what: str, chains: bool | None) -> Runner:
    """Ask the tables that counts unfold to, and leave out of the answer what was added."""
    inner = runner_of(unfolded_structure(structure), order, what, chains=chains)
    families, groups = len(structure.families), len(structure.groups)

    def asked(function: Callable[..., Any], potentials: Potentials, *more: Any) -> Any:
        found = function(unfolded_potentials(structure, potentials), *more)
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
        "total": lambda potentials: mass_and_marginals(structure)(potentials)[0],
        "draw": lambda potentials, uniforms: drawing(structure)(potentials, uniforms),
    }
    return Runner(questions[what], method="messages on a forest")
