"""Folding: cliques whose pairs all have one table become counts, so that a bag is one factor and not all its pairs.

Law: the measure of the variables is the same, since the score of the pairs of a set depends on how many of its members
are one and on nothing else. On forests of counts inference is then exact. Elsewhere the messages are others: those of a
count are exact within its bag, those of pairs go around in it, so `folded` is for the user to ask for, and what was run
can be read off the structure.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from lawful.errors import DuplicateSiteError, LawfulError

from .cliques import Cliques, cliques_of
from .evidence import traced
from .graph import FactorGraph
from .structure import Count, Family, Group, Structure


def folded(graph: FactorGraph) -> FactorGraph:
    """Make counts of all groups of factors that are cliques of binary variables, where each has one table.

    A group is folded where its factors are all pairs of disjoint sets of four members or more, and those of a set have
    one table, which does not tell its two variables apart. Its place is taken by variables called `~` and its name,
    that hold how many members of each set are one. Other groups stay as they are.

    Raises: LawfulError for tables that are traced, so that it is not known whether they are alike; DuplicateSiteError
        where the graph has variables of that name.

    >>> graph = FactorGraph()
    >>> y = graph.variables("y", shape=(5,), log_potential=[0.0, 0.5])
    >>> first, second = np.triu_indices(5, 1)
    >>> graph.factors("apart", [y[first], y[second]], -0.3 * np.eye(2))
    >>> graph, folded(graph)
    (FactorGraph(5 variables, 10 factors), FactorGraph(6 variables, 0 factors, 1 count))
    """
    structure, potentials = graph.structure, graph.potentials
    families, groups, counted = list(structure.families), list[Group](), list(structure.counted)
    unary, tables, size = list[Any](), list[Any](), structure.size
    for group, table in zip(structure.groups, potentials.tables, strict=True):
        cliques = cliques_of(structure, group)
        scores = None if cliques is None else _scores(group, cliques, table)
        if cliques is None or scores is None:
            groups.append(group)
            tables.append(table)
            continue
        family = Family(f"~{group.name}", (len(scores),), cliques.shape[0] + 1, size)
        if structure.family(family.name) is not None:
            raise DuplicateSiteError(
                f"folded: variables {family.name!r} would hold the counts of {group.name!r}, and the name is taken. "
                "Fix: give the group another name.",
                site=group.name,
            )
        families.append(family)
        unary.append(scores)
        counted.append(_bags(structure, cliques, family))
        size += family.size
    if len(groups) == len(structure.groups):
        return graph
    return graph.rearranged(Structure(tuple(families), tuple(groups), tuple(counted)), unary, tables)


def _bags(structure: Structure, cliques: Cliques, family: Family) -> Count:
    """Give the sets as bags whose counts a family holds."""
    numbers = _binary(structure)[cliques.members.T]
    inside = np.arange(cliques.shape[0]) < cliques.sizes[:, None]
    starts = np.concatenate([[0], np.cumsum(cliques.sizes)])
    members = numbers[inside]
    return Count(family.name, family.offset + np.arange(family.size), members, starts, np.ones_like(members))


@lru_cache(maxsize=8)
def _binary(structure: Structure) -> np.ndarray:
    return np.flatnonzero(structure.cardinalities == 2)


def _scores(group: Group, cliques: Cliques, table: Any) -> np.ndarray | None:
    """Give the score of each count of ones in each set (S, B + 1); None where tables of a set differ, or turn round."""
    if traced(table):
        raise LawfulError(
            f"folded: the tables of {group.name!r} are traced, so it is not known whether those of a clique are alike. "
            "Fix: fold the graph before it is traced, or add the counts by hand: graph.count(...).",
            site=group.name,
        )
    table = np.asarray(table)
    number = cliques.to_first % cliques.shape[2]
    own = table[:1] if group.shared else table[np.unique(number, return_index=True)[1]]
    if (own[:, 0, 1] != own[:, 1, 0]).any() or (not group.shared and (own[number] != table).any()):
        return None
    ones = np.arange(cliques.shape[0] + 1)
    zeros = np.maximum(cliques.sizes[:, None] - ones, 0)
    total = np.zeros(zeros.shape)
    for pairs, state in ((ones * (ones - 1) / 2, (1, 1)), (zeros * (zeros - 1) / 2, (0, 0)), (ones * zeros, (0, 1))):
        # A state that is excluded counts where a pair has it: no pairs times -inf are nothing.
        total += np.where(pairs > 0, pairs * np.where(pairs > 0, own[:, *state, None], 0), 0)
    return total.astype(table.dtype)
