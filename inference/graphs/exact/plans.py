"""Plans: how a structure is solved exactly, found once for each and kept.

Law: a plan depends on the structure alone, so it serves every potential and all evidence. Long paths, and long narrow
graphs seen as the chain of their levels, are summed by loops where rounds of elimination would take longer; forests
with counts that are costly as tables are solved by messages.
"""

from __future__ import annotations

from functools import lru_cache

from lawful.errors import LawfulError, WidthError

from ..model.structure import Structure
from ..model.unfolding import unfolded_structure, unfolding_entries
from .buckets import Plan
from .chained import Chained
from .ordering import RULES, best_order, greedy, in_rounds
from .pendants import pendants_of
from .strips import strips_of

BUDGET = 1 << 24
UNFOLDED_UP_TO = 1 << 14  # entries of tables up to which counts on a forest are written as such
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
        return Plan(structure, best_order(structure))
    if rule == "rounds":
        return Plan(structure, in_rounds(structure))
    if rule not in RULES:
        raise LawfulError(f"order: expected one of {', '.join((*RULES, 'rounds'))}, or None, got {rule!r}.")
    return Plan(structure, greedy(structure, rule))


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


def core_plan(structure: Structure) -> Plan:
    """Plan the elimination that is left where long paths are summed by loops; that of all where none are."""
    tables = unfolded_structure(structure) if structure.counted and not by_messages_alone(structure) else structure
    split = path_plan(tables)
    return elimination_plan(tables, None) if split is None else split.plan


def by_messages_alone(structure: Structure) -> bool:
    """Tell whether a graph is solved by messages: a forest with counts that are costly as tables."""
    return bool(structure.counted) and structure.is_forest and unfolding_entries(structure, True) > UNFOLDED_UP_TO
