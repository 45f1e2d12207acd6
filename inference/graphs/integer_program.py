"""Integer program: the most probable assignment of a graph of any kind, by branch and bound.

Law: the states of a variable are columns of zeros and ones that add up to one, and the table of a factor has those of
its variables as margins. A count says that the columns of its members add up to its own number. All of it is linear, so
the score of an assignment and an upper bound of all scores come from one program, however bags overlap.

Reference: Huangfu and Hall (2018), Parallelizing the dual revised simplex method, for the solver (HiGHS).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix, csr_matrix

from .model.graph import FactorGraph
from .model.structure import Structure

NEAR = 1e-9  # of the bound, as a share of the score


class Programmed(NamedTuple):
    """States of all variables (n,), None where none were found; and an upper bound, -inf where none are possible."""

    states: np.ndarray | None
    bound: float


class _Columns(NamedTuple):
    """Where the columns of variables begin (n + 1,), those of each group's tables, and the number of all."""

    variables: np.ndarray
    tables: list[int]
    number: int


def columns_of(structure: Structure) -> int:
    """Count the columns of the program of a structure.

    >>> from .model.structure import Family
    >>> columns_of(Structure((Family("z", (2,), 3, 0),), ()))
    6
    """
    return _columns(structure).number


def programmed(graph: FactorGraph, seconds: float) -> Programmed:
    """Find a most probable assignment.

    Args:
        graph: the graph, with its evidence.
        seconds: that the search may take.

    >>> graph = FactorGraph()
    >>> y = graph.variables("y", shape=(3,), log_potential=np.log([[0.4, 0.6], [0.4, 0.6], [0.3, 0.7]]))
    >>> n, m = graph.count("n", y[:2]), graph.count("m", y[1:])  # one each: the first and the last, or the second
    >>> programmed(graph.observe({"n": 1, "m": 1}), 60.0).states.tolist()
    [1, 0, 1, 1, 1]
    """
    structure, potentials = graph.structure, graph.potentials
    columns = _columns(structure)
    parts, constant = [np.asarray(scores, float).reshape(-1) for scores in potentials.unary], 0.0
    for group, tables in zip(structure.groups, potentials.tables, strict=True):
        full = np.broadcast_to(np.asarray(tables, float), (group.size, *group.cardinalities))
        constant += 0.0 if group.arity else float(full.sum())
        parts.append(full.reshape(-1) if group.arity else np.zeros(0))
    worth = np.concatenate([np.zeros(0), *parts])
    possible = worth > -np.inf
    if not structure.size or constant == -np.inf:
        return Programmed(np.zeros(structure.size, np.int64), constant)
    matrix, right = _equations(structure, columns)
    found = milp(
        -np.where(possible, worth, 0.0),
        constraints=[LinearConstraint(matrix, right, right)],
        integrality=np.arange(columns.number) < columns.variables[-1],
        bounds=Bounds(0, possible.astype(float)),
        options={"time_limit": seconds, "mip_rel_gap": NEAR},
    )
    if found.x is None:  # no column is free beyond one, so what may be unbounded is infeasible
        return Programmed(None, -np.inf if "nfeasible" in found.message else np.inf)
    starts = columns.variables[:-1]
    states = np.zeros(structure.size, np.int64)
    for k in range(int(structure.cardinalities.max())):
        inside = k < structure.cardinalities
        states[inside] = np.where(found.x[starts[inside] + k] > 0.5, k, states[inside])
    return Programmed(states, constant - float(found.mip_dual_bound))


def _columns(structure: Structure) -> _Columns:
    variables = np.concatenate([[0], np.cumsum(structure.cardinalities)]).astype(np.int64)
    tables, end = [], int(variables[-1])
    for group in structure.groups:
        tables.append(end)
        end += group.size * int(np.prod(group.cardinalities, dtype=np.int64)) if group.arity else 0
    return _Columns(variables, tables, end)


def _equations(structure: Structure, columns: _Columns) -> tuple[csr_matrix, np.ndarray]:
    """Write that states add up to one, that tables have them as margins, and that counts are right."""
    cards, starts = structure.cardinalities, columns.variables[:-1]
    own = np.repeat(np.arange(structure.size), cards)
    parts: list[tuple[Any, Any, Any]] = [(own, np.arange(len(own)), np.ones(len(own)))]
    rows = structure.size
    for group, start in zip(structure.groups, columns.tables, strict=True):
        if not group.arity:
            continue
        entries = np.indices(group.cardinalities).reshape((group.arity, -1))
        places = start + np.arange(group.size * entries.shape[1]).reshape((group.size, -1))
        for axis, card in enumerate(group.cardinalities):
            first = rows + card * np.arange(group.size)
            parts.append(((first[:, None] + entries[axis]).reshape(-1), places.reshape(-1), np.ones(places.size)))
            states = starts[group.scopes[:, axis]][:, None] + np.arange(card)
            parts.append(((first[:, None] + np.arange(card)).reshape(-1), states.reshape(-1), -np.ones(states.size)))
            rows += card * group.size
    for count in structure.counted:
        parts.append((rows + count.bags, starts[count.members] + count.states, np.ones(len(count.members))))
        for bag, total in enumerate(count.totals.tolist()):
            width = int(cards[total])
            parts.append((np.full(width, rows + bag), starts[total] + np.arange(width), -np.arange(float(width))))
        rows += count.size
    row, column, value = (np.concatenate(each) for each in zip(*parts, strict=True))
    right = np.concatenate([np.ones(structure.size), np.zeros(rows - structure.size)])
    return csr_matrix(coo_matrix((value, (row, column)), shape=(rows, columns.number))), right
