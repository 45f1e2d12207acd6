"""Grouping: lifted terms of a program become groups of factors of a graph.

Law: the factors have the sum of the terms. A factor reads no variable twice, factors on the same variables are added
up, and tables that are all alike are stored once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from ..model.graph import FactorGraph
from ..model.potentials import refuse_not_finite
from .lifted import Table, of


def add_groups(graph: FactorGraph, name: str, parts: Sequence[Table], what: str) -> list[Any]:
    """Add the tables of a term, a group for each number of states; give the numbers that depend on no variable.

    Raises: NonFiniteError, with `what` before it, for a score that is NaN or +inf.
    """
    found: dict[tuple[int, ...], list[tuple[np.ndarray, Any]]] = {}
    for part in parts:
        for cards, scopes, tables in _without_repeats(part):
            found.setdefault(cards, []).append((scopes, tables))
    constants = [tables.sum() for _, tables in found.pop((), [])]
    for constant in constants:
        refuse_not_finite(constant, what)
    number = 0
    for cards, pieces in sorted(found.items(), key=lambda item: -len(item[0])):
        scopes = np.concatenate([s for s, _ in pieces]) if len(pieces) > 1 else pieces[0][0]
        each = [t for _, t in pieces]
        tables = of(*each).concatenate(each) if len(pieces) > 1 else each[0]
        if not len(scopes):
            continue
        if len(pieces) > 1:
            scopes, tables = _added_up(scopes, tables, graph.structure.size)
        number += 1
        shared = _alike(tables)
        own = tables[:1] if shared else tables
        graph.add(name if number == 1 else f"{name} #{number}", scopes, cards, own, shared=shared, what=what)
    return constants


def _without_repeats(part: Table) -> Iterator[tuple[tuple[int, ...], np.ndarray, Any]]:
    """Split a table by which of its axes hold the same variable, and take the diagonal of these."""
    r = part.scopes.shape[-1]
    scopes, cards = part.scopes.reshape((-1, r) if r else (math.prod(part.scopes.shape[:-1]), 0)), part.array.shape[:r]
    tables = part.array.reshape((*cards, len(scopes))).transpose((r, *range(r)))
    if not any(np.any(scopes[:, j] == scopes[:, k]) for k in range(r) for j in range(k)):
        yield cards, scopes, tables
        return
    first = np.argmax(scopes[:, :, None] == scopes[:, None, :], axis=2)
    for pattern in np.unique(first, axis=0):
        rows = np.flatnonzero((first == pattern).all(axis=1))
        own = tables if len(rows) == len(scopes) else tables[rows]
        kept = [k for k, j in enumerate(pattern) if j == k]
        for axis in reversed([k for k, j in enumerate(pattern) if j != k]):
            drawn = of(own).diagonal(own, axis1=int(pattern[axis]) + 1, axis2=axis + 1)
            own = of(own).moveaxis(drawn, -1, int(pattern[axis]) + 1)
        yield tuple(cards[k] for k in kept), scopes[rows][:, kept], own


def _added_up(scopes: np.ndarray, tables: Any, size: int) -> tuple[np.ndarray, Any]:
    """Add up the tables of factors on the same variables, which come in the order of their scopes then."""
    if size ** scopes.shape[1] < 2**63:
        keys = np.zeros(len(scopes), np.int64)
        for column in scopes.T:
            keys = keys * size + column
        same, at, place = np.unique(keys, return_index=True, return_inverse=True)
    else:
        same, at, place = np.unique(scopes, axis=0, return_index=True, return_inverse=True)
    if len(same) == len(scopes):
        return scopes, tables
    if isinstance(tables, np.ndarray):
        total = np.zeros((len(same), *tables.shape[1:]), tables.dtype)
        np.add.at(total, place.reshape(-1), tables)
        return scopes[at], total
    return scopes[at], jax.ops.segment_sum(tables, place.reshape(-1), len(same))


def _alike(tables: Any) -> bool:
    """Tell whether all tables are the same numbers, which of traced ones is not known."""
    if len(tables) < 2 or isinstance(tables, jax.core.Tracer):
        return False
    found = np.asarray(tables)
    return bool((found[0] == found[-1]).all() and (found == found[0]).all())
