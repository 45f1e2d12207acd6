"""Structure: the variables of a factor graph, the scopes of its factors and its counts, without a number of potentials.

Law: two graphs with equal structures differ in their potentials alone, so what was planned or compiled for one holds
for the other. A structure is hashable, and its hash is that of its content.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lawful.form.digest import digest


@dataclass(frozen=True)
class Family:
    """An array of variables under one name.

    Attributes:
        name: the name.
        shape: of the array; () for a single variable.
        cardinality: number of states of each.
        offset: number of the first one among all variables of the graph; the others follow in row-major order.
        states: names of the states, or None where they are 0, 1, ...
    """

    name: str
    shape: tuple[int, ...]
    cardinality: int
    offset: int
    states: tuple[str, ...] | None = None

    @property
    def size(self) -> int:
        """Number of variables."""
        return math.prod(self.shape)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Numbers of the states by name."""
        return {name: k for k, name in enumerate(self.states or map(str, range(self.cardinality)))}


@dataclass(frozen=True, eq=False)
class Group:
    """Factors whose scopes have the same numbers of states, under one name.

    Attributes:
        name: the name.
        scopes: variables of each factor by number (G, r), in the order of the axes of its table.
        cardinalities: number of states of each variable in a scope (r,).
        shared: whether one table serves all factors.
    """

    name: str
    scopes: np.ndarray
    cardinalities: tuple[int, ...]
    shared: bool

    @property
    def size(self) -> int:
        """Number of factors."""
        return len(self.scopes)

    @property
    def arity(self) -> int:
        """Number of variables of each factor."""
        return len(self.cardinalities)


@dataclass(frozen=True, eq=False)
class Count:
    """Variables that hold how many members of a bag are in a state, under the name of their family.

    Attributes:
        name: the name.
        totals: for each bag, the variable that holds the count (G,).
        members: variables of all bags, one bag behind the other (M,); each in a bag once, all with as many states.
        starts: where the bags begin among the members, and the end of the last one (G + 1,).
        states: the state of each member that counts (M,).
    """

    name: str
    totals: np.ndarray
    members: np.ndarray
    starts: np.ndarray
    states: np.ndarray

    @property
    def size(self) -> int:
        """Number of bags."""
        return len(self.totals)

    @property
    def sizes(self) -> np.ndarray:
        """Number of members of each bag (G,)."""
        return np.diff(self.starts)

    @property
    def bags(self) -> np.ndarray:
        """Number of the bag of each member (M,)."""
        return np.repeat(np.arange(self.size), self.sizes)

    def only(self, kept: np.ndarray) -> Count:
        """Keep some of the bags, by a mask (G,)."""
        own, starts = kept[self.bags], np.concatenate([[0], np.cumsum(self.sizes[kept])])
        return Count(self.name, self.totals[kept], self.members[own], starts, self.states[own])


@dataclass(frozen=True, eq=False)
class Structure:
    """Variables and scopes.

    Attributes:
        families: the variables.
        groups: the factors.
        counted: the counts.
    """

    families: tuple[Family, ...]
    groups: tuple[Group, ...]
    counted: tuple[Count, ...] = ()

    @cached_property
    def size(self) -> int:
        """Number of variables."""
        return sum(family.size for family in self.families)

    @cached_property
    def cardinalities(self) -> np.ndarray:
        """Number of states of each variable."""
        sizes = [np.full(family.size, family.cardinality, np.int64) for family in self.families]
        return np.concatenate([np.zeros(0, np.int64), *sizes])

    @cached_property
    def counts(self) -> dict[int, int]:
        """Number of variables by their number of states, in ascending order."""
        found, many = np.unique(self.cardinalities, return_counts=True)
        return dict(zip(found.tolist(), many.tolist(), strict=True))

    @cached_property
    def rows(self) -> np.ndarray:
        """Number of each variable among those with as many states."""
        rows = np.zeros(self.size, np.int64)
        for card, many in self.counts.items():
            rows[self.cardinalities == card] = np.arange(many)
        return rows

    @cached_property
    def read(self) -> np.ndarray:
        """Whether a factor of several variables or a count reads each variable."""
        ends = [group.scopes.reshape(-1) for group in self.groups if group.arity > 1]
        ends += [count.members for count in self.counted]
        return np.isin(np.arange(self.size), np.concatenate([np.zeros(0, np.int64), *ends]))

    @cached_property
    def components(self) -> int:
        """Number of parts that hang together; a factor without variables is one of its own."""
        return int(connected_components(self.bipartite, directed=False)[0])

    @cached_property
    def vertices(self) -> np.ndarray:
        """First vertex of each group and of each count among all: variables, factors, bags; and how many there are."""
        sizes = [group.size for group in self.groups] + [count.size for count in self.counted]
        return np.cumsum([self.size, *sizes])

    @cached_property
    def bipartite(self) -> coo_matrix:
        """Who meets whom: variables, then the factors of each group, then the bags of each count; edges from both."""
        *starts, number = self.vertices.tolist()
        ends = [np.zeros((2, 0), np.int64)]
        for group, start in zip(self.groups, starts[: len(self.groups)], strict=True):
            factor = np.repeat(start + np.arange(group.size), group.arity)
            ends.append(np.stack([group.scopes.reshape(-1), factor]))
        for count, start in zip(self.counted, starts[len(self.groups) :], strict=True):
            ends.append(np.stack([count.members, start + count.bags]))
            ends.append(np.stack([count.totals, start + np.arange(count.size)]))
        pairs = np.concatenate(ends, axis=1)
        return coo_matrix((np.ones(pairs.shape[1]), tuple(pairs)), shape=(number, number))

    @cached_property
    def is_forest(self) -> bool:
        """Whether no cycle of variables and factors exists: there are as many parts as vertices more than edges."""
        return self.components == self.bipartite.shape[0] - self.bipartite.nnz

    @cached_property
    def digest(self) -> str:
        """Hash of the content."""
        parts: list[str | np.ndarray] = [repr(self.families)]
        for group in self.groups:
            parts += [repr((group.name, group.cardinalities, group.shared)), _short(group.scopes)]
        for count in self.counted:
            parts += [repr(count.name), *map(_short, (count.totals, count.members, count.starts, count.states))]
        return digest(*parts)

    def __hash__(self) -> int:
        """Hash the content."""
        return int(self.digest[:15], 16)

    def __eq__(self, other: object) -> bool:
        """Compare the content."""
        return isinstance(other, Structure) and self.digest == other.digest

    def family(self, name: str) -> Family | None:
        """Find variables by name."""
        return self._named.get(name)

    @cached_property
    def _named(self) -> dict[str, Family]:
        return {family.name: family for family in self.families}

    def by_name(self, states: Any) -> dict[str, Any]:
        """Split states of all variables (n,) by name `(*shape)`."""
        return {f.name: states[f.offset : f.offset + f.size].reshape(f.shape) for f in self.families}

    @cached_property
    def _offsets(self) -> np.ndarray:
        return np.array([family.offset for family in self.families], np.int64)

    def name_of(self, variable: int) -> str:
        """Name one variable for people, as `z[3, 4]`."""
        # A family without elements has the offset of the next one, so the last with this offset or less is meant.
        family = self.families[int(np.searchsorted(self._offsets, variable, side="right")) - 1]
        if not family.shape:
            return family.name
        place = np.unravel_index(variable - family.offset, family.shape)
        return f"{family.name}[{', '.join(str(int(k)) for k in place)}]"


def _short(numbers: np.ndarray) -> np.ndarray:
    """Write numbers for a digest, in half the bytes where all are small."""
    kind = np.int32 if numbers.max(initial=0) < 2**31 else np.int64
    return numbers.astype(kind, copy=False)
