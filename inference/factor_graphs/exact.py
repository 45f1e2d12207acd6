"""Exact inference by elimination: marginals, total mass, largest score and draws, under a budget of table entries.

Law: the certificate is "exact". What was planned and compiled for a structure serves every potential and all evidence;
the first queries of a structure are computed by NumPy, since few queries do not pay for a compilation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError, WidthError

from .beliefs import Beliefs
from .buckets import Plan, planned
from .elimination import Marginals, backward, by_uniform, decode, forward, highest
from .graph import FactorGraph, Potentials
from .ordering import RULES, best_order, greedy, in_rounds
from .structure import Structure
from .verdicts import number_of

BUDGET = 1 << 24
CONSTANTS_UP_TO = 1 << 16
NUMPY_QUERIES = 100


@lru_cache(maxsize=256)
def elimination_plan(structure: Structure, rule: str | None) -> Plan:
    """Plan an elimination, once for each structure.

    Args:
        structure: of the graph.
        rule: "min-fill", "min-degree", "min-weight" or "rounds"; None compares them.
    """
    if rule is None:
        return planned(structure, best_order(structure))
    if rule == "rounds":
        return planned(structure, in_rounds(structure))
    if rule not in RULES:
        raise LawfulError(f"order: expected one of {', '.join((*RULES, 'rounds'))}, or None, got {rule!r}.")
    return planned(structure, greedy(structure, rule))


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
    graph: FactorGraph, order: str | None = None, budget: int = BUDGET, compiled: bool | None = None
) -> Beliefs:
    """Give exact marginals and the total mass.

    Args:
        graph: the graph, with its evidence.
        order: the rule of the order; None compares them.
        budget: largest number of entries of a table.
        compiled: whether to compile now; None compiles after a hundred queries. Traced numbers are always compiled.

    Raises: WidthError for a graph that needs more.
    """
    structure, potentials = graph.structure, graph.potentials
    refuse_too_wide(elimination_plan(structure, order), budget)
    log_z, variables, factors = _run(structure, order, "marginals", compiled, potentials)
    numbers = number_of("exact"), number_of("infeasible"), number_of("nonfinite")
    xp = jnp if isinstance(log_z, jax.Array) else np
    verdict = xp.where(xp.isfinite(log_z), numbers[0], xp.where(log_z == -np.inf, numbers[1], numbers[2]))
    return Beliefs(structure, variables, factors, log_z, verdict)


def most_probable(
    graph: FactorGraph, order: str | None = None, budget: int = BUDGET, compiled: bool | None = None
) -> tuple[dict[str, Any], Any]:
    """Find an assignment of the highest score, by states `(*shape)`, and the natural log of its measure.

    Of several the one with the lowest states, in the reverse order of elimination, is taken.

    Raises: WidthError as `eliminated`.
    """
    structure = graph.structure
    refuse_too_wide(elimination_plan(structure, order), budget)
    states, log_score = _run(structure, order, "map", compiled, graph.potentials)
    return by_name(structure, states), log_score


def pushed(
    graph: FactorGraph, uniforms: Any, order: str | None = None, budget: int = BUDGET, compiled: bool | None = None
) -> dict[str, Any]:
    """Turn uniforms, one for each variable (n,), into an exact draw of all variables, by states `(*shape)`."""
    structure = graph.structure
    refuse_too_wide(elimination_plan(structure, order), budget)
    return by_name(structure, _run(structure, order, "draw", compiled, graph.potentials, uniforms))


def log_mass(structure: Structure, potentials: Potentials, compiled: bool | None = None) -> Any:
    """Give the natural log of the total mass; its gradient is exact, and zero at what is excluded."""
    return _run(structure, None, "total", compiled, potentials)


def drawn_states(structure: Structure, potentials: Potentials, uniforms: Any, compiled: bool | None = None) -> Any:
    """Turn uniforms (n,) into an exact draw of the states of all variables (n,)."""
    return _run(structure, None, "draw", compiled, potentials, uniforms)


def by_name(structure: Structure, states: Any) -> dict[str, Any]:
    """Split states of all variables (n,) by name."""
    return {
        family.name: states[family.offset : family.offset + family.size].reshape(family.shape)
        for family in structure.families
    }


def _run(
    structure: Structure, order: str | None, what: str, compiled: bool | None, potentials: Potentials, *more: Any
) -> Any:
    """Run by NumPy or compiled."""
    runner = _runner(structure, order, what)
    arrays = (*potentials.unary, *potentials.tables, *more)
    traced = any(isinstance(x, jax.core.Tracer) for x in arrays)
    runner.queries += 1
    if traced or (runner.queries > NUMPY_QUERIES if compiled is None else compiled):
        return runner.compiled(potentials, *more)
    concrete = Potentials(tuple(map(np.asarray, potentials.unary)), tuple(map(np.asarray, potentials.tables)))
    return runner.plain(concrete, *map(np.asarray, more))


class _Runner:
    """One question to one structure, by NumPy or compiled."""

    def __init__(self, plan: Plan, plain: Callable[..., Any]) -> None:
        self.queries = 0
        places = jax.tree.map(lambda x: x.astype(np.int32), plan.places)  # single precision has no longer indices
        self.plain: Callable[..., Any] = partial(plain, places)
        if sum(x.size for x in jax.tree.leaves(places)) <= CONSTANTS_UP_TO:
            self.compiled: Callable[..., Any] = jax.jit(self.plain)
        else:  # as constants they would make compilation slow
            self.compiled = partial(jax.jit(plain), places)


@lru_cache(maxsize=256)
def _runner(structure: Structure, order: str | None, what: str) -> _Runner:
    plan = elimination_plan(structure, order)
    steps = plan.steps

    def marginals(places: Any, potentials: Potentials) -> Any:
        run = forward(steps, places, potentials)
        found = backward(steps, places, run)
        return run.log_total, *_split(structure, plan, places, found, run.log_total)

    def total(places: Any, potentials: Potentials) -> Any:
        return forward(steps, places, potentials).log_total

    def largest(places: Any, potentials: Potentials) -> Any:
        run = forward(steps, places, potentials, "max")
        return decode(steps, places, run, structure.size, highest), run.log_total

    def draw(places: Any, potentials: Potentials, uniforms: Any) -> Any:
        run = forward(steps, places, potentials)
        return decode(steps, places, run, structure.size, by_uniform(uniforms))

    questions: dict[str, Callable[..., Any]] = {"marginals": marginals, "total": total, "map": largest, "draw": draw}
    return _Runner(plan, questions[what])


def _split(
    structure: Structure, plan: Plan, places: Any, found: Marginals, log_total: Any
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Give marginals by family and by group."""
    xp, dtype = (jnp if isinstance(log_total, jax.Array) else np), log_total.dtype
    begun: dict[int, int] = defaultdict(int)
    variables = []
    for family in structure.families:
        card, start = family.cardinality, begun[family.cardinality]
        begun[card] = start + family.size
        own = found.variables[card][start : start + family.size] if family.size else xp.zeros((0, card), dtype)
        variables.append(own.reshape((*family.shape, card)))
    factors = [xp.zeros((g.size, *g.cardinalities), dtype) for g in structure.groups]
    for number in plan.steps.constants:
        factors[number] = factors[number] + xp.isfinite(log_total)
    for (number, card), rows in zip(plan.steps.singles, places.singles, strict=True):
        factors[number] = found.variables[card][rows]
    for entry, rows in zip(plan.steps.entries, places.entries, strict=True):
        cards = structure.groups[entry.group].cardinalities
        shape = tuple(cards[k] for k in entry.order)
        back = np.argsort(entry.order)
        own = xp.transpose(found.tables[shape][entry.start : entry.start + entry.count], (0, *(back + 1)))
        if isinstance(own, np.ndarray):
            factors[entry.group][rows] = own
        else:
            factors[entry.group] = factors[entry.group].at[rows].set(own)
    return tuple(variables), tuple(factors)
