"""Summary: what a factor graph holds, and what an inference on it would do, in words.

Law: none of its own; nothing is computed but the plan.
"""

from __future__ import annotations

import math

import numpy as np

from .model.cliques import cliques_in
from .model.graph import FactorGraph
from .planning import BUDGET, planned, shown_bytes


def summary(graph: FactorGraph, width_budget: int = BUDGET) -> str:
    """Write what a graph holds, a line for each name, and the plan of an inference.

    >>> from lawful.inference.graphs import FactorGraph
    >>> graph = FactorGraph()
    >>> z = graph.variables("z", shape=(3,), cardinality=2)
    >>> graph.factors("step", [z[:-1], z[1:]], np.zeros((2, 2)))
    >>> print(summary(graph.observe({"z": ([0], [1])})).splitlines()[1])
    z     3 variables (3,), 2 states, 1 observed
    """
    structure, evidence = graph.structure, graph.evidence
    rows = []
    for family in structure.families:
        seen = evidence.get(family.name)
        count = "" if seen is None else f", {int(np.sum(np.asarray(seen) >= 0))} observed"
        shape = f" {family.shape}" if family.shape else ""
        states = _counted(family.cardinality, "state")
        lack = graph.notes.outside.get(family.name)
        missing = "" if lack is None else f"; at most {lack:.2g} of its law is outside"
        rows.append((family.name, f"{_counted(family.size, 'variable')}{shape}, {states}{count}{missing}"))
    for group, tables, cliques in zip(structure.groups, graph.potentials.tables, cliques_in(structure), strict=True):
        size = shown_bytes(math.prod(tables.shape) * np.dtype(tables.dtype).itemsize)
        one = " in all" if group.shared and group.size > 1 else ""
        of = f"of {_counted(group.arity, 'variable')}, tables of {size}{one}"
        sets = "" if cliques is None else f": {_counted(len(cliques.sizes), 'clique')} of {_between(cliques.sizes)}"
        rows.append((group.name, f"{_counted(group.size, 'factor')} {of}{sets}"))
    for bags in structure.counted:
        if not bags.size:
            continue
        of = f"{_counted(bags.size, 'count')} of bags of {_between(bags.sizes)}"
        rows.append((bags.name, f"{of}, {len(bags.members)} members"))
    width = max((len(name) for name, _ in rows), default=0) + 2
    lines = [repr(graph), *(f"{name:{width}}{what}" for name, what in rows)]
    plan = planned(structure, "auto", width_budget)
    return "\n".join([*lines, f"{_counted(structure.components, 'component')}. {plan}"])


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _between(sizes: np.ndarray) -> str:
    """Write the least and the largest of some numbers, or the one that all are."""
    return " to ".join(map(str, sorted({int(sizes.min()), int(sizes.max())})))
