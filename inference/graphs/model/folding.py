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

from .cliques import Cliques, cliques_in
from .graph import FactorGraph
from .potentials import traced
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
    structure, tables = graph.structure, graph.potentials.tables
    found: dict[int, Any] = {}
    for number, cliques in enumerate(cliques_in(structure)):
        scores = None if cliques is None else _scores(structure.groups[number], cliques, tables[number])
        if scores is not None:
            found[number] = scores
    if not found:
        return graph
    kept = [table for number, table in enumerate(tables) if number not in found]
    return graph.rearranged(_folded(structure, tuple(found)), list(found.values()), kept)


@lru_cache(maxsize=64)
def _folded(structure: Structure, chosen: tuple[int, ...]) -> Structure:
    """Put counts in the place of some groups."""
    families, counted = list(structure.families), list(structure.counted)
    size, binary = structure.size, np.flatnonzero(structure.cardinalities == 2)
    for number in chosen:
        name, cliques = f"~{structure.groups[number].name}", cliques_in(structure)[number]
        assert cliques is not None, "asked for groups that are cliques"
        if structure.family(name) is not None:
            raise DuplicateSiteError(
                f"folded: variables {name!r} would hold the counts of {name[1:]!r}, and the name is taken. Fix: give "
                "the group another name.",
                site=name,
            )
        sets = len(cliques.sizes)
        members = binary[cliques.members.T][np.arange(cliques.shape[0]) < cliques.sizes[:, None]]
        starts = np.concatenate([[0], np.cumsum(cliques.sizes)])
        families.append(Family(name, (sets,), cliques.shape[0] + 1, size))
        counted.append(Count(name, size + np.arange(sets), members, starts, np.ones_like(members)))
        size += sets
    groups = tuple(group for number, group in enumerate(structure.groups) if number not in chosen)
    return Structure(tuple(families), groups, tuple(counted))


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
