"""Assembling: a graph from a list of variables and a list of factors, as files hold them, and its numbers to write.

Law: the measure is the product of the listed tables. Factors whose scopes have the same numbers of states make one
group, in the order of the list, so that there are as many groups as kinds of tables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lawful.errors import LawfulError

from ..model.graph import FactorGraph
from ..model.notes import GroupNote, Notes
from ..model.scopes import diagonal
from .linear import logs_of

MOST_AXES = 62  # NumPy has 64, one of which counts the factors


class Term(NamedTuple):
    """A factor of a list.

    Attributes:
        name: for people.
        scope: its variables, by number.
        logs: its table, as natural logs.
        entries: the same as linear numbers, NaN where unknown; None where none is known.
    """

    name: str
    scope: tuple[int, ...]
    logs: np.ndarray
    entries: np.ndarray | None = None


class Ragged(NamedTuple):
    """Factors one after the other in flat arrays.

    Attributes:
        arity: number of variables of each factor (F,).
        scopes: their variables, by number.
        logs: their tables in row-major order, as natural logs.
        entries: the same as linear numbers, NaN where unknown.
        names: for people, or None.
    """

    arity: np.ndarray
    scopes: np.ndarray
    logs: np.ndarray
    entries: np.ndarray
    names: Sequence[str] | None


def ragged(terms: Sequence[Term]) -> Ragged:
    """Put a list of factors into flat arrays."""
    none = np.zeros(0)
    return Ragged(
        np.array([len(term.scope) for term in terms], np.int64),
        np.array([v for term in terms for v in term.scope], np.int64),
        np.concatenate([none, *(np.asarray(term.logs, np.float64).reshape(-1) for term in terms)]),
        np.concatenate([none, *(_known(term).reshape(-1) for term in terms)]),
        [term.name for term in terms],
    )


def linear(name: str, scope: tuple[int, ...], entries: np.ndarray) -> Term:
    """List a factor by linear numbers."""
    return Term(name, scope, logs_of(entries), np.asarray(entries, np.float64))


def _known(term: Term) -> np.ndarray:
    return np.full(np.shape(term.logs), np.nan) if term.entries is None else np.asarray(term.entries, np.float64)


def with_factors(graph: FactorGraph, factors: Ragged, directed: bool = False) -> FactorGraph:
    """Add factors to a graph that has the variables, in groups; those without variables are numbers."""
    cards = graph.structure.cardinalities
    graph.notes = Notes(directed=directed, numbers=graph.notes.numbers)
    heads = np.concatenate([[0], np.cumsum(factors.arity)]).astype(np.int64)
    sizes = table_sizes(factors, cards)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    for arity in np.unique(factors.arity).tolist():
        rows = np.flatnonzero(factors.arity == arity)
        scopes = factors.scopes[heads[rows][:, None] + np.arange(arity)[None]]
        signs = np.concatenate([np.full((len(rows), 1), arity), cards[scopes], _repeats(scopes)], axis=1)
        kinds, kind = np.unique(signs, axis=0, return_inverse=True)
        by_kind = np.split(np.argsort(kind.reshape(-1), kind="stable"), np.cumsum(np.bincount(kind.reshape(-1)))[:-1])
        for found, own in zip(kinds.tolist(), by_kind, strict=True):
            shape, repeats = tuple(found[1 : arity + 1]), found[arity + 1 :]
            where = starts[rows[own]][:, None] + np.arange(math.prod(shape))[None]
            _add_group(graph, _title(shape, repeats), scopes[own], shape, rows[own], where, factors)
    return graph


def _add_group(
    graph: FactorGraph,
    name: str,
    scopes: np.ndarray,
    shape: tuple[int, ...],
    places: np.ndarray,
    where: np.ndarray,
    factors: Ragged,
) -> None:
    logs, entries = (flat[where].reshape((len(where), *shape)) for flat in (factors.logs, factors.entries))
    graph.factors_by_number(name, scopes, logs)
    names = None if factors.names is None else tuple(factors.names[k] for k in places.tolist())
    known = None if np.isnan(entries).all() else diagonal(name, scopes, shape, entries)[2]
    graph.notes = graph.notes.adding(name, GroupNote(names, places, known))


def table_sizes(factors: Ragged, cards: np.ndarray) -> np.ndarray:
    """Count the entries of each table (F,)."""
    owner = np.repeat(np.arange(len(factors.arity)), factors.arity)
    sizes = np.ones(len(factors.arity), np.int64)
    np.multiply.at(sizes, owner, cards[factors.scopes])
    return sizes


def _repeats(scopes: np.ndarray) -> np.ndarray:
    """Give for each axis the first axis with the same variable (G, r)."""
    if not scopes.shape[1]:
        return scopes
    ordered = np.sort(scopes, axis=1)
    found = np.broadcast_to(np.arange(scopes.shape[1])[None], scopes.shape).copy()
    twice = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    found[twice] = np.argmax(scopes[twice][:, :, None] == scopes[twice][:, None, :], axis=2)
    return found


def _title(shape: tuple[int, ...], repeats: list[int]) -> str:
    title = "x".join(map(str, shape)) or "constants"
    return title if repeats == list(range(len(repeats))) else f"{title} on {' '.join(map(str, repeats))}"


def observed_by_number(graph: FactorGraph, numbers: np.ndarray, states: np.ndarray) -> FactorGraph:
    """Observe variables by their numbers in the graph, each once."""
    order = np.argsort(numbers)
    numbers, states, found = numbers[order], states[order], {}
    for family in graph.structure.families:
        start, end = np.searchsorted(numbers, [family.offset, family.offset + family.size]).tolist()
        if start < end:
            index = np.unravel_index(numbers[start:end] - family.offset, family.shape) if family.shape else ...
            found[family.name] = (index, states[start:end] if family.shape else states[start])
    return graph.observe(found)


def families(
    graph: FactorGraph,
    names: Sequence[str],
    states: Sequence[Sequence[str] | int],
    log_potentials: Sequence[Any],
    arrays: Sequence[tuple[str, tuple[int, ...]]] | None = None,
) -> None:
    """Add listed variables to an empty graph.

    Args:
        graph: the graph.
        names: of the variables.
        states: of each, or how many.
        log_potentials: scores of each, or None.
        arrays: names and shapes of the arrays that the list of variables came from; they are made again where they fit.
    """
    for name, shape, place in _fitting(names, arrays):
        own = range(place, place + math.prod(shape))
        if not own:
            continue
        kinds = {s if isinstance(s, int) else tuple(map(str, s)) for s in (states[k] for k in own)}
        if len(kinds) != 1:
            raise LawfulError(f"variables {name!r}: expected the same states of all its elements.", site=name)
        kind = kinds.pop()
        count = kind if isinstance(kind, int) else len(kind)
        given = [log_potentials[k] for k in own]
        scores = None if all(g is None for g in given) else _stacked(given, count).reshape((*shape, count))
        graph.variables(name, shape, count, scores, None if isinstance(kind, int) else kind)


def _stacked(given: Sequence[Any], count: int) -> np.ndarray:
    return np.stack([np.zeros(count) if g is None else np.asarray(g) for g in given])


def _fitting(
    names: Sequence[str], arrays: Sequence[tuple[str, tuple[int, ...]]] | None
) -> list[tuple[str, tuple[int, ...], int]]:
    """Give name, shape and first element of each array; each variable is one where the arrays do not fit the names."""
    found, place = [], 0
    for name, shape in arrays or ():
        found.append((name, shape, place))
        indices = [""] if shape == () else [f"[{', '.join(map(str, index))}]" for index in np.ndindex(*shape)]
        if list(names[place : place + len(indices)]) != [name + index for index in indices]:
            return [(name, (), k) for k, name in enumerate(names)]
        place += len(indices)
    return found if place == len(names) and arrays is not None else [(name, (), k) for k, name in enumerate(names)]


class Concrete(NamedTuple):
    """The numbers of a graph without its evidence, as NumPy arrays, and the states of the evidence (n,)."""

    unary: list[np.ndarray]
    tables: list[np.ndarray]
    seen: np.ndarray


def concrete(graph: FactorGraph, counts: bool = False) -> Concrete:
    """Read the numbers of a graph.

    Args:
        graph: the graph.
        counts: whether what is written can hold counts.

    Raises: LawfulError where they are traced, and for counts that cannot be held.
    """
    if graph.structure.counted and not counts:
        raise LawfulError(
            f"writing a factor graph: this format holds tables alone, and {graph.structure.counted[0].name!r} is a "
            "count. Fix: graph.save(path), which holds counts, or write them as tables: unfolded(graph)."
        )
    potentials = graph.without_evidence().potentials
    evidence = graph.evidence
    if any(isinstance(x, jax.core.Tracer) for x in (*potentials.unary, *potentials.tables, *evidence.values())):
        raise LawfulError(
            "writing a factor graph: its potentials or its evidence are traced, so they have no numbers yet. Fix: "
            "write it outside jit, vmap and grad."
        )
    none = [np.asarray(evidence.get(f.name, np.full(f.shape, -1))).reshape(-1) for f in graph.structure.families]
    seen = np.concatenate([np.zeros(0, np.int64), *none])
    return Concrete([np.asarray(x) for x in potentials.unary], [np.asarray(x) for x in potentials.tables], seen)
