"""Listing: a graph variable by variable and factor by factor, as files hold it, in numbers of NumPy.

Law: assembling what is listed gives a graph of the same measure, with variables and factors of the same names, in the
same order.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import numpy as np

from lawful.errors import LawfulError

from ..model.graph import FactorGraph
from .assembling import Term
from .linear import entries_of, exactly


class Listed(NamedTuple):
    """A graph as lists, its variables in the order of its file.

    Attributes:
        names: of the variables.
        cardinalities: their numbers of states.
        states: names of their states, or None.
        unary: their scores, as natural logs.
        seen: their states in the evidence, -1 where nothing was seen (n,).
        terms: the factors, those of a file in its order first; with entries where these have exactly the logs.
    """

    names: list[str]
    cardinalities: list[int]
    states: list[tuple[str, ...] | None]
    unary: list[np.ndarray]
    seen: np.ndarray
    terms: list[Term]


def listed(graph: FactorGraph) -> Listed:
    """List a graph variable by variable and factor by factor.

    Raises: LawfulError for potentials or evidence that are traced, so have no numbers to write.
    """
    structure, plain = graph.structure, concrete(graph)
    numbers = graph.notes.file_numbers(structure.size)
    order = np.argsort(numbers)
    owner = [family for family in structure.families for _ in range(family.size)]
    unary = [row for scores in plain.unary for row in scores]
    return Listed(
        [structure.name_of(v) for v in order.tolist()],
        structure.cardinalities[order].tolist(),
        [owner[v].states for v in order.tolist()],
        [unary[v] for v in order.tolist()],
        plain.seen[order],
        _terms(graph, plain, numbers),
    )


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


def _terms(graph: FactorGraph, plain: Concrete, numbers: np.ndarray) -> list[Term]:
    placed: list[tuple[float, Term]] = []
    for k, (group, tables) in enumerate(zip(graph.structure.groups, plain.tables, strict=True)):
        note = graph.notes.on(group.name)
        entries = entries_of(tables, note.entries)
        exact = exactly(entries, tables).tolist()
        for row, scope in enumerate(numbers[group.scopes].tolist()):
            at = 0 if group.shared else row
            place = math.inf if note.places is None else float(note.places[row])
            known = entries[at, ...] if exact[at] else None
            placed.append((place, Term(graph.factor_name(k, row), tuple(scope), tables[at, ...], known)))
    return [term for _, term in sorted(placed, key=lambda pair: pair[0])]
