"""Widening: small graphs of variables with many numbers of states, seen as ones of few numbers.

Law: a state that is added is excluded everywhere, so masses, messages and beliefs of the others are what they were.
Factors whose tables then have one size are updated at once: what is traced and compiled grows with the kinds of tables,
not with their entries.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..model.potentials import Potentials
from ..model.structure import Group, Structure
from .messages import Messages, net_of

ENTRIES = 1 << 16  # of all tables of the wide graph; more are work in every sweep
KINDS = 3  # of tables that are saved; fewer are not worth it

type Kinds = dict[tuple[int, ...], int]


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
        families = zip(potentials.unary, self.structure.families, strict=True)
        groups = zip(potentials.tables, self.structure.groups, strict=True)
        return Potentials(
            tuple(_excluding(scores, (f.cardinality,)) for scores, f in families),
            tuple(_excluding(table, g.cardinalities) for table, g in groups),
        )

    def first(self, dtype: Any) -> Messages:
        """Give messages that say nothing of the states that are there."""
        groups, found = self.structure.groups, []
        for block in net_of(self.structure).blocks:
            scopes = np.concatenate([groups[part.group].scopes[:, part.order] for part in block.parts])
            states = [np.arange(card)[:, None] for card in block.cardinalities]
            there = [s < self.given.cardinalities[own] for s, own in zip(states, scopes.T, strict=True)]
            found.append(tuple(np.where(x, 0.0, -np.inf).astype(dtype).reshape((-1, *block.shape)) for x in there))
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
    """Give variables more states where that leaves fewer kinds of tables that are hardly larger; else None."""
    kinds: Kinds = Counter()
    for group in structure.groups:
        if group.arity > 1 and group.size:
            kinds[tuple(sorted(group.cardinalities))] += group.size
    wide = _numbers(kinds)
    if structure.counted or len(kinds) - len(_seen(kinds, wide)) < KINDS:
        return None
    families = (replace(f, cardinality=wide.get(f.cardinality, f.cardinality), states=None) for f in structure.families)
    groups = (
        Group(g.name, g.scopes, tuple(wide.get(k, k) for k in g.cardinalities), g.shared) for g in structure.groups
    )
    return Wide(structure, Structure(tuple(families), tuple(groups)))


def _numbers(kinds: Kinds) -> dict[int, int]:
    """Say which number each becomes: neighbours are joined, the cheapest first, while the tables stay small."""
    wide = {card: card for kind in kinds for card in kind}
    while True:
        left = sorted(set(wide.values()))
        joined = [{k: above if own == below else own for k, own in wide.items()} for below, above in pairwise(left)]
        least = min(joined, key=lambda numbers: _entries(kinds, numbers), default=wide)
        if least is wide or _entries(kinds, least) > ENTRIES:
            return wide
        wide = least


def _entries(kinds: Kinds, wide: dict[int, int]) -> int:
    return sum(size * math.prod(wide[k] for k in kind) for kind, size in kinds.items())


def _seen(kinds: Kinds, wide: dict[int, int]) -> set[tuple[int, ...]]:
    return {tuple(wide[k] for k in kind) for kind in kinds}


def _excluding(array: Any, cards: Sequence[int]) -> Any:
    """Fill the last axes up to numbers of states with exclusions."""
    module: Any = jnp if isinstance(array, jax.core.Tracer) else np
    held = array.ndim - len(cards)
    pads = [(0, 0)] * held + [(0, card - size) for card, size in zip(cards, array.shape[held:], strict=True)]
    return module.pad(array, pads, constant_values=-np.inf)
