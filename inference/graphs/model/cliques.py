"""Cliques: groups of factors that are all pairs of disjoint sets of variables, as bags whose members are all joined.

Law: a message of a clique stands at the place (to, from) of a square, sets side by side, so what a message answers is
its transpose and what a variable hears is a sum along one axis: no list of edges is walked. The pairs of a square that
are no factors, as a variable with itself, say nothing: their messages are zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np

from .structure import Group, Structure

LEAST = 4  # members of the largest set: a square of fewer is mostly its diagonal
FILLED = 0.5  # share of the squares that are factors, where sets differ in size


@dataclass(frozen=True, eq=False)
class Cliques:
    """Sets of variables that are joined in all pairs.

    Attributes:
        members: numbers of the variables among those with as many states (B, S), for S sets of at most B members.
        sizes: number of members of each set (S,).
        joined: whether two members are the variables of a factor (B, B, S), or (B, B, 1) where that is one for all.
        to_first: where the message of each factor to its first variable stands in the flat squares (G,).
        to_second: where the message to its second one stands (G,).
    """

    members: np.ndarray
    sizes: np.ndarray
    joined: np.ndarray
    to_first: np.ndarray
    to_second: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the squares."""
        return (len(self.members), *self.members.shape)

    def squares(self, to_first: Any, to_second: Any) -> Any:
        """Arrange numbers of the factors, one for each of their variables (1, G), in squares (1, B, B, S)."""
        flat = jnp.zeros((1, self.joined.shape[0] * self.members.size), to_first.dtype)
        flat = flat.at[:, self.to_first].set(to_first, unique_indices=True)
        return flat.at[:, self.to_second].set(to_second, unique_indices=True).reshape((1, *self.shape))

    def ends(self, squares: Any) -> tuple[Any, Any]:
        """Read what squares hold for the first and for the second variable of each factor."""
        flat = squares.reshape((1, -1))
        return flat[:, self.to_first], flat[:, self.to_second]

    def add(self, values: Any, squares: Any) -> Any:
        """Add what variables hear (1, n), (1, B, B, S) -> (1, n)."""
        return values.at[:, self.members].add(jnp.sum(squares, axis=2))

    def read(self, values: Any) -> Any:
        """Give the members the values of their variables (1, n) -> (1, B, S)."""
        return values[:, self.members]


@lru_cache(maxsize=128)
def cliques_in(structure: Structure) -> tuple[Cliques | None, ...]:
    """Find the cliques of each group of a structure, once; None for what is not all pairs of disjoint sets."""
    return tuple(_cliques_of(structure, group) for group in structure.groups)


def _cliques_of(structure: Structure, group: Group) -> Cliques | None:
    """Recognise all pairs of disjoint sets of binary variables, in time that is linear in the factors."""
    if group.cardinalities != (2, 2) or group.size < LEAST * (LEAST - 1) // 2:
        return None
    low, high = group.scopes.min(axis=1), group.scopes.max(axis=1)
    leader = np.arange(structure.size)
    np.minimum.at(leader, high, low)  # the lowest of a clique is a neighbour of all others
    if (leader[low] != leader[high]).any():
        return None
    joined = np.zeros(structure.size, bool)
    joined[low] = joined[high] = True
    members = np.flatnonzero(joined)
    members = members[np.argsort(leader[members], kind="stable")]
    starts = np.flatnonzero(np.diff(leader[members], prepend=-1))
    sizes = np.diff(starts, append=len(members))
    side, pairs = int(sizes.max()), int((sizes * (sizes - 1) // 2).sum())
    if pairs != group.size or side < LEAST or pairs < FILLED * len(sizes) * side * (side - 1) // 2:
        return None
    place, number = np.zeros(structure.size, np.int64), np.zeros(structure.size, np.int64)
    number[members] = np.repeat(np.arange(len(sizes)), sizes)
    place[members] = np.arange(len(members)) - np.repeat(starts, sizes)
    first, second = group.scopes.T
    to_first, to_second = (
        (place[to] * side + place[of]) * len(sizes) + number[to] for to, of in ((first, second), (second, first))
    )
    filled = np.zeros(side * side * len(sizes), bool)
    filled[to_first] = filled[to_second] = True
    if np.count_nonzero(filled) < 2 * pairs:  # a pair came twice
        return None
    inside = np.arange(side)[:, None] < sizes
    table = np.zeros((side, len(sizes)), np.int64)
    table[place[members], number[members]] = structure.rows[members]
    whole = filled.reshape((side, side, len(sizes)))
    return Cliques(table, sizes, whole[..., :1] if inside.all() else whole, to_first, to_second)
