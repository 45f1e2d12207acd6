"""Restriction: the graph of some variables where all others are held at given states.

Law: its measure at states of the variables is that of the graph at these and the held states, but for a factor that
does not depend on them, the exponential of `held_score`. Held variables cut the graph, so that a block of variables can
be a forest where the graph is none. A part of the factors is no restriction: it forgets what the others say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from .counted import counts_at
from .potentials import Potentials, traced
from .structure import Count, Family, Group, Structure


@dataclass(frozen=True, eq=False)
class _Piece:
    """Factors of a group whose scopes have the same axes among the variables that stay."""

    group: int
    rows: np.ndarray
    kept: tuple[int, ...]


class Restriction:
    """A graph restricted to some variables.

    Attributes:
        source: structure of the graph.
        variables: numbers of the variables that stay (m,), ascending; those that share a bag with them stay as well,
            with the state that is held as the only one possible.
        structure: of the restricted graph; its families have the names of those of the graph.
    """

    def __init__(self, source: Structure, variables: np.ndarray) -> None:
        """Find the factors that read the variables, and cut their scopes."""
        self.source, free = source, np.unique(np.asarray(variables, np.int64))
        self.variables = with_bags(source, free)
        number = np.full(source.size, -1, np.int64)
        number[self.variables] = np.arange(len(self.variables))
        self._pinned = ~np.isin(np.arange(source.size), free)
        families, self._unary = [], list[tuple[int, np.ndarray]]()
        for place, family in enumerate(source.families):
            own = np.flatnonzero(number[family.offset : family.offset + family.size] >= 0)
            if len(own):
                offset = int(number[family.offset + own[0]])
                families.append(Family(family.name, (len(own),), family.cardinality, offset, family.states))
                self._unary.append((place, own.astype(np.int32)))
        counted = tuple(count for given in source.counted if (count := _restricted(given, number)).size)
        number[self._pinned] = -1
        groups, self._pieces, self._held = [], list[_Piece](), list[_Piece]()
        for place, group in enumerate(source.groups):
            inside = number[group.scopes] >= 0
            for pattern in np.unique(inside, axis=0):
                kept = tuple(np.flatnonzero(pattern).tolist())
                rows = np.flatnonzero((inside == pattern).all(axis=1))
                if not kept:
                    self._held.append(_Piece(place, rows.astype(np.int32), kept))
                    continue
                shared = group.shared and len(kept) == group.arity
                cards = tuple(group.cardinalities[k] for k in kept)
                name = f"{group.name} {kept}"
                groups.append(Group(name, number[group.scopes[rows][:, list(kept)]], cards, shared))
                self._pieces.append(_Piece(place, rows.astype(np.int32), kept))
        self.structure = Structure(tuple(families), tuple(groups), counted)

    def potentials(self, potentials: Potentials, states: Any) -> Potentials:
        """Give the numbers of the restricted graph, from those of the graph and the states of all its variables (n,).

        Only the states of held variables are read.
        """
        xp = _module(potentials, states)
        unary = []
        for place, own in self._unary:
            scores, variables = potentials.unary[place][own], self.source.families[place].offset + own
            pinned = self._pinned[variables]
            if pinned.any():
                here = states[variables][:, None] == np.arange(scores.shape[1])
                indicator = xp.where(here, 0.0, -np.inf).astype(scores.dtype)
                scores = xp.where(pinned[:, None], indicator, scores)
            unary.append(scores)
        tables = []
        for piece, group in zip(self._pieces, self.structure.groups, strict=True):
            source = self.source.groups[piece.group]
            own = potentials.tables[piece.group]
            if group.shared:
                tables.append(own)
                continue
            rows = np.zeros(len(piece.rows), np.int32) if source.shared else piece.rows
            held = [k for k in range(source.arity) if k not in piece.kept]
            moved = xp.moveaxis(own, [k + 1 for k in held], list(range(1, len(held) + 1)))
            tables.append(moved[(rows, *(states[source.scopes[piece.rows, k]] for k in held))])
        return Potentials(tuple(unary), tuple(tables))

    def held_score(self, potentials: Potentials, states: Any) -> Any:
        """Give the log of what the held variables say among themselves; its gradient is zero at what they exclude."""
        xp, found = _module(potentials, states), list[Any]()
        for family, scores in zip(self.source.families, potentials.unary, strict=True):
            own = np.flatnonzero(self._pinned[family.offset : family.offset + family.size])
            found.append(xp.asarray(scores)[own, states[family.offset + own]])
        for piece in self._held:
            group = self.source.groups[piece.group]
            rows = np.zeros(len(piece.rows), np.int32) if group.shared else piece.rows
            at = (states[group.scopes[piece.rows, k]] for k in range(group.arity))
            found.append(xp.asarray(potentials.tables[piece.group])[(rows, *at)])
        for count in self.source.counted:
            apart = np.flatnonzero(~np.isin(count.totals, self.variables))
            wrong = (counts_at(count, states) != states[count.totals])[apart]
            found.append(xp.where(wrong, -np.inf, 0.0))
        every = xp.concatenate(found) if found else np.zeros(0, jnp.result_type(float))
        out = xp.isneginf(every)
        return xp.where(xp.any(out), -np.inf, xp.sum(xp.where(out, xp.zeros_like(every), every)))


def _module(potentials: Potentials, states: Any) -> Any:
    """Give the module that suits some numbers: NumPy where all are known."""
    return jnp if any(map(traced, (states, *potentials.unary, *potentials.tables))) else np


def with_bags(structure: Structure, variables: np.ndarray) -> np.ndarray:
    """Add to variables all others of their bags: members, and the variables that hold the counts."""
    inside = np.zeros(structure.size, bool)
    inside[variables] = True
    found = [variables]
    for count in structure.counted:
        touched = _touched(count, inside)
        found += [count.totals[touched], count.members[touched[count.bags]]]
    return np.unique(np.concatenate(found))


def _touched(count: Count, inside: np.ndarray) -> np.ndarray:
    """Tell which bags hold one of some variables (G,)."""
    found = inside[count.totals]
    np.logical_or.at(found, count.bags, inside[count.members])
    return found


def _restricted(count: Count, number: np.ndarray) -> Count:
    """Keep the bags whose variables all stay, with their new numbers."""
    touched = number[count.totals] >= 0
    np.logical_and.at(touched, count.bags, number[count.members] >= 0)
    kept = count.only(touched)
    return Count(kept.name, number[kept.totals], number[kept.members], kept.starts, kept.states)
