"""Results: marginals by number of states and by table, as an elimination finds them, for each family and each group.

Law: nothing is computed, only put where it belongs; factors of two or more variables have the axes of their group.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .buckets import Places, Plan
from .elimination import Marginals
from .structure import Structure


def by_family(structure: Structure, variables: dict[int, Any], dtype: Any) -> tuple[Any, ...]:
    """Give marginals of each family `(*shape, K)`, from those of all variables with as many states (n, K)."""
    begun: dict[int, int] = defaultdict(int)
    found = []
    for family in structure.families:
        card, start = family.cardinality, begun[family.cardinality]
        begun[card] = start + family.size
        own = variables[card][start : start + family.size] if family.size else np.zeros((0, card), dtype)
        found.append(own.reshape((*family.shape, card)))
    return tuple(found)


def by_group(structure: Structure, plan: Plan, places: Places, found: Marginals, log_total: Any) -> tuple[Any, ...]:
    """Give marginals of each group (G, K_1, ..., K_r)."""
    xp, dtype = (jnp if isinstance(log_total, jax.Array) else np), log_total.dtype
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
        if entry.count == structure.groups[entry.group].size:
            factors[entry.group] = own
        elif isinstance(own, np.ndarray):
            factors[entry.group][rows] = own
        else:
            factors[entry.group] = factors[entry.group].at[rows].set(own)
    return tuple(factors)
