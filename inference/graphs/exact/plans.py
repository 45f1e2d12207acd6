"""Plans: how a structure is solved exactly, found once for each and kept.

Law: a plan depends on the structure alone, so it serves every potential and all evidence; what it says of an inference
is what the inference does. Long paths are summed by loops where rounds of elimination would take longer; forests with
counts that are costly as tables are solved by messages.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

from lawful.errors import LawfulError, WidthError

from ..model.structure import Structure
from ..model.unfolding import unfolded_structure, unfolding_entries
from .buckets import Plan
from .chained import Chained
from .ordering import RULES, best_order, greedy, in_rounds
from .pendants import LEAST, pendants_of

BUDGET = 1 << 24
UNFOLDED_UP_TO = 1 << 14  # entries of tables up to which counts on a forest are written as such
CHAIN_WORK = 1 << 22  # entries that rounds would sum; fewer take less time than a loop takes to compile
CHAIN_VARIABLES = 1 << 14  # more take longer to plan as rounds


class Way:
    """How a structure is solved exactly; what is not asked of it is not found out.

    Attributes:
        structure: of the graph.
        order: the rule of an elimination; None compares them.
        chains: whether long paths are summed by loops; None where that takes less time.
        messages: whether messages alone solve it: a forest with counts that are costly as tables.
    """

    def __init__(self, structure: Structure, order: str | None, chains: bool | None) -> None:
        """Decide on messages."""
        self.structure, self.order, self.chains = structure, order, chains
        costly = bool(structure.counted) and structure.is_forest
        self.messages = chains is not True and costly and unfolding_entries(structure, True) > UNFOLDED_UP_TO

    @cached_property
    def counts(self) -> int:
        """Number of entries of the tables that counts become."""
        return unfolding_entries(self.structure) if self.structure.counted else 0

    @cached_property
    def tables(self) -> Structure:
        """The structure with its counts written as tables."""
        return unfolded_structure(self.structure) if self.structure.counted else self.structure

    @cached_property
    def split(self) -> Chained | None:
        """The core and the chains; None where all variables are eliminated."""
        if self.chains is False or self.order is not None:
            return None
        return chained_plan(self.tables, bool(self.chains))

    @cached_property
    def plan(self) -> Plan:
        """The elimination: of the core, or of all variables."""
        return elimination_plan(self.tables, self.order) if self.split is None else self.split.plan

    def refuse_over(self, budget: int) -> None:
        """Refuse what is over budget before anything is allocated.

        Raises: WidthError, with the sizes.
        """
        if self.messages:
            return
        if self.counts > budget:
            raise WidthError(
                f"exact elimination would write the counts as tables of {self.counts} entries, more than the budget of "
                f"{budget}. Fix: raise width_budget=, or accept an approximation with method='loopy'.",
                largest=self.counts, budget=budget,
            )  # fmt: skip
        plan = self.plan
        if plan.largest > budget:
            raise WidthError(
                f"exact elimination needs a table of {plan.largest} entries (induced width {plan.order.width}), more "
                f"than the budget of {budget}; {plan.entries} entries in all. Fix: raise width_budget=, give evidence "
                "that cuts the graph (condition), or accept an approximation with method='loopy'.",
                largest=plan.largest, budget=budget, width=plan.order.width,
            )  # fmt: skip


@lru_cache(maxsize=256)
def way_of(structure: Structure, order: str | None = None, chains: bool | None = None) -> Way:
    """Say how a structure is solved, once for each."""
    return Way(structure, order, chains)


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


def chained_plan(structure: Structure, always: bool = False) -> Chained | None:
    """Split a graph into a core and chains; None where rounds are as good.

    Rounds sum K^3 entries for each variable of a chain, a loop K^2, but it has to be compiled.
    """
    found = None if structure.size < LEAST else pendants_of(structure)
    if found is None:
        return None
    work = sum(
        int(places.lengths.sum()) * batch.states**3 for batch, places in zip(found.batches, found.places, strict=True)
    )
    if not always and work < CHAIN_WORK and found.variables < CHAIN_VARIABLES:
        return None
    return Chained(found, elimination_plan(found.core, None))
