"""Widening: small graphs of variables with many numbers of states, seen as one where all have the largest number.

Law: a state that is added is excluded everywhere, so masses, messages and beliefs of the others are what they were.
Factors of as many variables then have tables of one size and are updated at once: what is compiled grows with the kinds
of tables, not with their entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .messages import Messages, net_of
from .potentials import Potentials
from .structure import Group, Structure

ENTRIES = 1 << 16  # of all tables of the wide graph; more are work in every sweep
KINDS = 3  # of tables that are saved; fewer are not worth it


@dataclass(frozen=True, eq=False)
class Wide:
    """A graph and the same with more states.

    Attributes:
        given: the structure.
        structure: the wide one, with as many families and groups.
    """

    given: Structure
    structure: Structure

    def potentials(self, potentials: Potentials) -> Potentials:
        """Exclude the states that are added."""
        card = self.structure.families[0].cardinality
        return Potentials(
            tuple(_excluding(scores, 1, card) for scores in potentials.unary),
            tuple(_excluding(table, 1, card) for table in potentials.tables),
        )

    def first(self, dtype: Any) -> Messages:
        """Give messages that say nothing of the states that are there."""
        groups, card = self.structure.groups, self.structure.families[0].cardinality
        silent = np.where(np.arange(card)[:, None] < self.given.cardinalities, 0.0, -np.inf).astype(dtype)
        found = []
        for block in net_of(self.structure).blocks:
            scopes = np.concatenate([groups[part.group].scopes[:, part.order] for part in block.parts])
            found.append(tuple(silent[:, own].reshape((card, *block.shape)) for own in scopes.T))
        return tuple(found)

    def narrow(self, variables: Sequence[Any], tables: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Leave the beliefs of the states that are there."""
        families = zip(variables, self.given.families, strict=True)
        groups = zip(tables, self.given.groups, strict=True)
        return (
            tuple(x if x is None else x[..., : f.cardinality] for x, f in families),
            tuple(x if x is None else x[(slice(None), *map(slice, g.cardinalities))] for x, g in groups),
        )


@lru_cache(maxsize=256)
def widened(structure: Structure) -> Wide | None:
    """Give all variables as many states, where that leaves fewer kinds of tables that are hardly larger; else None."""
    groups = [group for group in structure.groups if group.arity > 1 and group.size]
    card = int(max(structure.cardinalities, default=0))
    kinds, arities = {tuple(sorted(g.cardinalities)) for g in groups}, {g.arity for g in groups}
    entries = sum(group.size * card**group.arity for group in groups)
    if structure.counted or len(kinds) - len(arities) < KINDS or entries > ENTRIES:
        return None
    families = tuple(replace(f, cardinality=card, states=None) for f in structure.families)
    wide = tuple(Group(g.name, g.scopes, (card,) * g.arity, g.shared) for g in structure.groups)
    return Wide(structure, Structure(families, wide))


def _excluding(array: Any, first: int, card: int) -> Any:
    """Fill the axes from the first one on up to a number of states with exclusions."""
    module: Any = jnp if isinstance(array, jax.core.Tracer) else np
    pads = [(0, card - size if axis >= first else 0) for axis, size in enumerate(array.shape)]
    return module.pad(array, pads, constant_values=-np.inf)
