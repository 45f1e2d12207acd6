"""Bounds of log Z: a mean field below, random trees above, and the Bethe value, which is neither, between or beside.

Law: lower <= log Z <= upper, at any time: no bound asks for convergence. Counts are kept by both, as far as they close
no cycle with each other.

Reference: Wainwright and Jordan (2008), Graphical models, exponential families, and variational inference, sections 5.3
and 7.2.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .best_assignment import most_probable
from .inference import log_mass
from .loopy.counting import random_forests, shares
from .loopy.propagation import propagated
from .mean_field import mean_field
from .model.graph import FactorGraph, graph_of
from .model.potentials import Potentials
from .model.structure import Group, Structure
from .planning import exactly


@dataclass(frozen=True)
class Bracket:
    """Natural logs around the total mass of a graph.

    Attributes:
        lower: a mean field.
        upper: the mean of trees.
        bethe: of loopy belief propagation.
        verdict: how that run ended.
    """

    lower: float
    upper: float
    bethe: float
    verdict: str


def bracket(graph: FactorGraph, forests: int = 64) -> Bracket:
    """Bound log Z from both sides.

    Args:
        graph: the graph, with its evidence.
        forests: number of random forests of the upper bound; more make it tighter.

    >>> graph = FactorGraph()
    >>> z = graph.variables("z", shape=(3,), cardinality=2)
    >>> graph.factors("same", [z, z[[1, 2, 0]]], np.eye(2))
    >>> found = bracket(graph)
    >>> found.lower <= 4.0339 <= found.upper
    True
    """
    loopy = propagated(graph)
    return Bracket(mean_field(graph), upper_bound(graph, forests), float(loopy.log_z), str(loopy.verdict))


def upper_bound(graph: FactorGraph, forests: int = 64) -> float:
    """Give the smaller of two bounds from above, the second one where there are counts.

    It is that of trees, or the bound of the best score plus the log of the number of assignments with possible counts.
    """
    trees = tree_bound(graph, forests)
    if not graph.structure.counted:
        return trees
    unary = tuple(np.where(np.isneginf(np.asarray(u)), -np.inf, 0.0) for u in graph.potentials.unary)
    alone = Structure(graph.structure.families, (), graph.structure.counted)
    return min(trees, float(most_probable(graph).bound) + tree_bound(graph_of(alone, Potentials(unary, ())), 1))


def tree_bound(graph: FactorGraph, forests: int = 64) -> float:
    """Give the mean over random forests of log Z with each factor's table divided by its share of the forests.

    A forest has bags, as many as close no cycle, and then factors; a count that it has not may be anything.
    """
    structure, potentials = graph.structure, graph.potentials
    drawn = random_forests(structure, forests)
    weights = shares(structure, drawn)
    unary = tuple(np.asarray(u, float) for u in potentials.unary)
    found = 0.0
    for forest in drawn:
        groups, tables = [], []
        for group, table, mask, share in zip(structure.groups, potentials.tables, forest, weights, strict=False):
            kept = np.flatnonzero(mask)
            if not len(kept):
                continue
            own = np.broadcast_to(np.asarray(table, float), (group.size, *group.cardinalities))[kept]
            groups.append(Group(group.name, group.scopes[kept], group.cardinalities, shared=False))
            tables.append(own / share[kept].reshape((-1, *[1] * group.arity)))
        bags = zip(structure.counted, forest[len(structure.groups) :], strict=True)
        counted = tuple(count.only(mask) for count, mask in bags if mask.any())
        part = Structure(structure.families, tuple(groups), counted)
        found += float(log_mass(exactly(part, order="rounds"), Potentials(unary, tuple(tables)), compiled=False))
    return found / len(drawn)
