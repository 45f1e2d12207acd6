"""Exact inference by elimination: marginals, total mass, largest score and draws, under a budget of table entries.

Law: the certificate is "exact". What was planned and compiled for a structure serves every potential and all evidence;
the first queries of a structure are computed by NumPy, since few queries do not pay for a compilation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError, WidthError

from .beliefs import Beliefs
from .buckets import Plan, planned
from .chained import Chained
from .descents import deciding, drawing, uniforms_needed
from .elimination import backward, by_uniform, decode, forward, highest
from .evidence import traced
from .forests import by_messages, mass_and_marginals
from .graph import FactorGraph
from .ordering import RULES, best_order, greedy, in_rounds
from .packing import Packing, packing_of
from .pendants import pendants_of
from .potentials import Potentials
from .results import by_family, by_group
from .strips import Strips, strips_of
from .structure import Structure
from .unfolding import unfolded_potentials, unfolded_structure, unfolding_entries
from .verdicts import number_of

BUDGET = 1 << 24
UNFOLDED_UP_TO = 1 << 14  # entries of tables up to which counts on a forest are written as such
CONSTANTS_UP_TO = 1 << 16
NUMPY_QUERIES = 100
CHAIN_WORK = 1 << 22  # entries that rounds would sum; fewer take less time than a loop takes to compile
CHAIN_VARIABLES = 1 << 14  # more take longer to plan as rounds


@lru_cache(maxsize=256)
def elimination_plan(structure: Structure, rule: str | None) -> Plan:
    """Plan an elimination, once for each structure.

    Args:
        structure: of the graph.
        rule: "min-fill", "min-degree", "min-weight" or "rounds"; None compares them.
    """
    assert not structure.counted, "counts are unfolded, or solved by messages, before"
    if rule is None:
        return planned(structure, best_order(structure))
    if rule == "rounds":
        return planned(structure, in_rounds(structure))
    if rule not in RULES:
        raise LawfulError(f"order: expected one of {', '.join((*RULES, 'rounds'))}, or None, got {rule!r}.")
    return planned(structure, greedy(structure, rule))


@lru_cache(maxsize=64)
def chained_plan(structure: Structure, always: bool = False) -> Chained | None:
    """Split a graph into a core and chains, once for each structure; None where rounds are as good.

    Rounds sum K^3 entries for each variable of a chain, a loop K^2, but it has to be compiled.
    """
    found = pendants_of(structure)
    if found is None:
        return None
    work = sum(
        int(places.lengths.sum()) * batch.states**3 for batch, places in zip(found.batches, found.places, strict=True)
    )
    if not always and work < CHAIN_WORK and found.variables < CHAIN_VARIABLES:
        return None
    return Chained(found, elimination_plan(found.core, None))


def path_plan(structure: Structure, always: bool = False) -> Chained | None:
    """Split a graph, or the chain of its levels where it is long and narrow, into a core and chains."""
    split = chained_plan(structure, always)
    strips = None if split is not None else strips_of(structure)
    return split if strips is None else chained_plan(strips.joint, True)


def refuse_too_wide(plan: Plan, budget: int) -> None:
    """Refuse a plan over budget before anything is allocated.

    Raises: WidthError, with the sizes.
    """
    if plan.largest > budget:
        raise WidthError(
            f"exact elimination needs a table of {plan.largest} entries (induced width {plan.order.width}), more than "
            f"the budget of {budget}; {plan.entries} entries in all. Fix: raise width_budget=, give evidence that cuts "
            "the graph (condition), or accept an approximation with method='loopy'.",
            largest=plan.largest, budget=budget, width=plan.order.width,
        )  # fmt: skip


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
    structure, potentials = graph.structure, graph.potentials
    if by_messages_alone(structure):
        return by_messages(graph)
    runner = _ready(structure, order, "marginals", budget, chains)
    log_z, verdict, variables, factors = _run(runner, compiled, potentials)
    method = "chains" if isinstance(runner, _Loops | _Levels) else "elimination"
    return Beliefs(structure, variables, factors, log_z, verdict, method=method)


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
    if by_messages_alone(graph.structure):
        best = by_name(graph.structure, deciding(graph.structure)(graph.potentials))
        return best, graph.log_score(best)
    runner = _ready(graph.structure, order, "map", budget, chains)
    states, log_score = _run(runner, compiled, graph.potentials)
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
    runner = _ready(graph.structure, order, "draw", budget, chains)
    _check_uniforms(graph.structure, uniforms)
    return by_name(graph.structure, _run(runner, compiled, graph.potentials, uniforms))


def log_mass(structure: Structure, potentials: Potentials, compiled: bool | None = None) -> Any:
    """Give the natural log of the total mass; its gradient is exact, and zero at what is excluded."""
    return _run(_ready(structure, None, "total", None), compiled, potentials)


def drawn_states(structure: Structure, potentials: Potentials, uniforms: Any, compiled: bool | None = None) -> Any:
    """Turn uniforms, as many as `uniforms_of` says, into an exact draw of the states of all variables (n,)."""
    runner = _ready(structure, None, "draw", None)
    _check_uniforms(structure, uniforms)
    return _run(runner, compiled, potentials, uniforms)


def uniforms_of(structure: Structure) -> int:
    """Count the uniforms of a draw: one for each variable, and where there are counts some more."""
    return uniforms_needed(structure) if by_messages_alone(structure) else unfolded_structure(structure).size


def _check_uniforms(structure: Structure, uniforms: Any) -> None:
    if np.shape(uniforms) != (needed := uniforms_of(structure),):
        raise LawfulError(f"a draw: expected uniforms of shape {(needed,)}, got {np.shape(uniforms)}.")


def by_messages_alone(structure: Structure) -> bool:
    """Tell whether a graph is solved by messages: a forest with counts that are costly as tables."""
    return bool(structure.counted) and structure.is_forest and unfolding_entries(structure, True) > UNFOLDED_UP_TO


def by_name(structure: Structure, states: Any) -> dict[str, Any]:
    """Split states of all variables (n,) by name."""
    return {
        family.name: states[family.offset : family.offset + family.size].reshape(family.shape)
        for family in structure.families
    }


def core_plan(structure: Structure) -> Plan:
    """Plan the elimination that is left where long paths are summed by loops; that of all where none are."""
    tables = unfolded_structure(structure) if structure.counted and not by_messages_alone(structure) else structure
    split = path_plan(tables)
    return elimination_plan(tables, None) if split is None else split.plan


def _ready(structure: Structure, order: str | None, what: str, budget: int | None, chains: bool | None = None) -> Any:
    """Find what answers a question, if it fits the budget."""
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
        return _Tabled(structure, _ready(unfolded_structure(structure), order, what, budget, chains), what)
    split = None if chains is False or order is not None else chained_plan(structure, bool(chains))
    if split is None and chains is not False and order is None and strips_of(structure) is not None:
        return _levels(structure, what)
    if budget is not None:
        refuse_too_wide(elimination_plan(structure, order) if split is None else split.plan, budget)
    return _runner(structure, order, what) if split is None else _loops(structure, bool(chains), what)


def _run(runner: Any, compiled: bool | None, potentials: Potentials, *more: Any) -> Any:
    """Run by NumPy or compiled."""
    runner.queries += 1
    often = runner.queries > NUMPY_QUERIES if compiled is None else compiled
    if often or runner.plain is None or any(map(traced, (*potentials.unary, *potentials.tables, *more))):
        return runner.compiled(potentials, *more)
    concrete = Potentials(tuple(map(np.asarray, potentials.unary)), tuple(map(np.asarray, potentials.tables)))
    return runner.plain(concrete, *map(np.asarray, more))


class _Runner:
    """One question to one structure, by NumPy or compiled."""

    def __init__(self, plan: Plan, plain: Callable[..., Any], packing: Packing | None = None) -> None:
        self.queries = 0
        places = jax.tree.map(lambda x: x.astype(np.int32), plan.places)  # single precision has no longer indices
        self.plain: Callable[..., Any] = partial(plain, places)
        if packing is not None:
            plain = _packed(plain, packing)
        if sum(x.size for x in jax.tree.leaves(places)) <= CONSTANTS_UP_TO:
            program: Callable[..., Any] = jax.jit(partial(plain, places))
        else:  # as constants they would make compilation slow
            program = partial(jax.jit(plain), places)
        self.compiled = program if packing is None else _unpacked(program, packing)


def _packed(marginals: Callable[..., Any], packing: Packing) -> Callable[..., Any]:
    def packed(places: Any, potentials: Potentials) -> Any:
        log_z, _, variables, factors = marginals(places, potentials)
        return packing.pack(log_z, variables, factors)

    return packed


def _unpacked(program: Callable[..., Any], packing: Packing) -> Callable[..., Any]:
    def unpacked(potentials: Potentials) -> Any:
        log_z, variables, factors = packing.unpack(program(potentials))
        return log_z, _verdict(log_z), variables, factors

    return unpacked


class _Loops:
    """One question to one structure with chains."""

    plain = None

    def __init__(self, split: Chained, what: str) -> None:
        self.queries = 0
        questions: dict[str, Callable[..., Any]] = {
            "marginals": _judged(split.marginals),
            "total": split.total,
            "map": split.largest,
            "draw": split.draw,
        }
        self.compiled = partial(jax.jit(questions[what]), split.where)


class _Tabled:
    """One question to a structure with counts, asked of the tables that they unfold to."""

    def __init__(self, structure: Structure, runner: Any, what: str) -> None:
        self.structure, self.runner, self.what = structure, runner, what
        self.plain = None if runner.plain is None else partial(self._asked, runner.plain)
        self.compiled = partial(self._asked, runner.compiled)

    @property
    def queries(self) -> int:
        """How often the question was asked."""
        return int(self.runner.queries)

    @queries.setter
    def queries(self, number: int) -> None:
        self.runner.queries = number

    def _asked(self, function: Callable[..., Any], potentials: Potentials, *more: Any) -> Any:
        """Leave out of the answer what was added."""
        found = function(unfolded_potentials(self.structure, potentials), *more)
        families, groups = len(self.structure.families), len(self.structure.groups)
        if self.what == "marginals":
            return *found[:2], found[2][:families], found[3][:groups]
        if self.what == "map":
            return found[0][: self.structure.size], found[1]
        return found[: self.structure.size] if self.what == "draw" else found


class _Levels:
    """One question to a long narrow structure, asked of the chain of its levels."""

    plain = None

    def __init__(self, strips: Strips, chain: _Loops, what: str) -> None:
        self.queries = 0

        def asked(where: Any, potentials: Potentials, *uniforms: Any) -> Any:
            found = chain.compiled(strips.potentials(where, potentials), *(u[where.first] for u in uniforms))
            if what == "marginals":
                log_z, verdict, (node,), (pairs, *constants) = found
                return log_z, verdict, *strips.marginals(where, node, pairs, constants)
            if what == "map":
                return strips.decoded(where, found[0]), found[1]
            return strips.decoded(where, found) if what == "draw" else found

        self.compiled = partial(jax.jit(asked), strips.where)


@lru_cache(maxsize=256)
def _levels(structure: Structure, what: str) -> _Levels:
    strips = strips_of(structure)
    assert strips is not None, "asked for a structure that is long and narrow"
    return _Levels(strips, _loops(strips.joint, True, what), what)


class _Messages:
    """One question to a forest with counts."""

    plain = None

    def __init__(self, structure: Structure, what: str) -> None:
        self.queries = 0
        questions: dict[str, Callable[..., Any]] = {
            "total": lambda potentials: mass_and_marginals(structure)(potentials)[0],
            "draw": lambda potentials, uniforms: drawing(structure)(potentials, uniforms),
        }
        self.compiled = questions[what]


@lru_cache(maxsize=256)
def _messages(structure: Structure, what: str) -> _Messages:
    return _Messages(structure, what)


@lru_cache(maxsize=256)
def _loops(structure: Structure, always: bool, what: str) -> _Loops:
    split = chained_plan(structure, always)
    assert split is not None, "asked for a structure that has chains"
    return _Loops(split, what)


@lru_cache(maxsize=256)
def _runner(structure: Structure, order: str | None, what: str) -> _Runner:
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

    questions: dict[str, Callable[..., Any]] = {
        "marginals": _judged(marginals),
        "total": total,
        "map": largest,
        "draw": draw,
    }
    return _Runner(plan, questions[what], packing_of(structure) if what == "marginals" else None)


def _judged(marginals: Callable[..., Any]) -> Callable[..., Any]:
    """Put the number of the verdict behind the log of the mass."""

    def judged(places: Any, potentials: Potentials) -> Any:
        log_z, variables, factors = marginals(places, potentials)
        return log_z, _verdict(log_z), variables, factors

    return judged


def _verdict(log_z: Any) -> Any:
    xp = jnp if isinstance(log_z, jax.Array) else np
    broken = xp.where(log_z == -np.inf, number_of("infeasible"), number_of("nonfinite"))
    return xp.where(xp.isfinite(log_z), number_of("exact"), broken)
