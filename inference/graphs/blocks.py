"""Blocks: sets of variables that can be drawn at once, given all others.

Law: every variable is in one block; where the variables outside a block are held, those inside can be eliminated within
the budget. Blocks are chosen from the structure alone, so a scan over them does not depend on any state.

Reference: Hamze and de Freitas (2004), From fields to trees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lawful.errors import WidthError
from lawful.late import networkx

from .model.restriction import Restriction
from .model.structure import Structure
from .planning import Plan, planned


def chosen_blocks(structure: Structure, always: np.ndarray, budget: int) -> list[np.ndarray]:
    """Choose blocks: all variables at once where that is within the budget, else sets that have no cycle.

    Args:
        structure: of the graph.
        always: numbers of variables that every block holds, since the others decide them.
        budget: largest number of entries of a table.

    Returns: numbers of the variables of each block; a block of one variable, beside those that all hold, may have a
        cycle and be over budget.

    >>> from .model.graph import FactorGraph
    >>> graph = FactorGraph()
    >>> z = graph.variables("z", shape=(3,))
    >>> graph.factors("ring", [z, z[[1, 2, 0]]], np.zeros((2, 2)))
    >>> [block.tolist() for block in chosen_blocks(graph.structure, np.zeros(0, int), 4)]
    [[0, 1], [2]]
    """
    if planned(structure, "auto", budget).method == "exact":
        return [np.arange(structure.size)]
    touching = _touching(structure)
    left, blocks = np.setdiff1d(np.arange(structure.size), always).tolist(), []
    while left:
        taken = _without_cycle(structure, touching, always.tolist(), left, budget) or left[:1]
        blocks.append(np.sort(np.array([*always.tolist(), *taken])))
        left = [v for v in left if v not in set(taken)]
    return blocks


def plan_of_block(structure: Structure, block: np.ndarray, budget: int) -> Plan:
    """Plan the exact draw of a block, given the other variables."""
    return planned(Restriction(structure, block).structure, "exact", budget)


def refuse_wide_blocks(structure: Structure, blocks: Sequence[np.ndarray], budget: int) -> None:
    """Refuse a block that cannot be drawn within the budget.

    Raises: WidthError, with the sizes.
    """
    for number, block in enumerate(blocks):
        plan = plan_of_block(structure, block, budget)
        if plan.refusal is not None:
            raise WidthError(
                f"block {number} of {len(blocks)}, of {len(block)} variables from {structure.name_of(int(block[0]))} "
                f"on, needs a table of {plan.largest} entries, more than the budget of {budget}. Fix: give smaller "
                "blocks, or raise width_budget=.",
                largest=plan.largest, budget=budget,
            )  # fmt: skip


def _touching(structure: Structure) -> list[list[np.ndarray]]:
    """Scopes of the factors of two variables or more, by variable."""
    found: list[list[np.ndarray]] = [[] for _ in range(structure.size)]
    for group in structure.groups:
        for scope in group.scopes if group.arity > 1 else ():
            for variable in scope.tolist():
                found[variable].append(scope)
    return found


def _bags(structure: Structure) -> list[list[set[int]]]:
    """Members and variable of each count, by variable; no table of them is made."""
    found: list[list[set[int]]] = [[] for _ in range(structure.size)]
    for count in structure.counted:
        for total, start, end in zip(count.totals.tolist(), count.starts[:-1], count.starts[1:], strict=True):
            bag = {total, *count.members[start:end].tolist()}
            for variable in bag:
                found[variable].append(bag)
    return found


def _without_cycle(
    structure: Structure, touching: list[list[np.ndarray]], always: list[int], left: Sequence[int], budget: int
) -> list[int]:
    """Take variables, the first ones first, as long as no cycle and no table over budget arises among those taken."""
    parts, size, bags = networkx.utils.UnionFind(), structure.cardinalities.tolist(), _bags(structure)

    def add(v: int, anyway: bool) -> bool:
        """Add a variable where its factors lead to different parts; factors with one set inside count once."""
        inside = {frozenset(u for u in scope.tolist() if u in parts.parents and u != v) for scope in touching[v]}
        met = [{parts[u] for u in members} for members in inside]
        met += [{parts[u] for u in bag if u in parts.parents and u != v} for bag in bags[v]]
        joined = set[int]().union(*met)
        largest = max((size[v] * math.prod(size[u] for u in members) for members in inside if members), default=0)
        if not anyway and (sum(map(len, met)) > len(joined) or largest > budget):
            return False
        parts.union(v, *joined)
        return True

    for v in always:
        add(v, anyway=True)
    return [v for v in left if add(v, anyway=False)]
