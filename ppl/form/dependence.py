"""Dependence: which sites, factors and named values read which others directly.

Law: where no path leads from a to b, the law of b stays the same whatever the value of a. The graph has one vertex per
address, so a site of a loop stands for all its steps, and an edge from one step to a later one is marked as carried.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..addresses import Address, show_address
from ..messages import Source
from .nodes import Branch, Det, Factor, Form, Loop, Node, Site, Var


@dataclass(frozen=True)
class Box:
    """What a vertex is repeated over: a loop or a plate, with its size; `key` tells two loops apart."""

    kind: str
    name: str
    size: int
    key: str


@dataclass(frozen=True)
class Vertex:
    """A site ("sample"), a factor ("factor") or a named value ("deterministic")."""

    address: Address
    kind: str
    observed: bool = False
    shape: tuple[int, ...] = ()
    label: str = ""
    boxes: tuple[Box, ...] = ()
    source: Source = Source("<algorithm>", 0)

    @property
    def name(self) -> str:
        """Name in results."""
        return show_address(self.address)

    @property
    def loops(self) -> tuple[int, ...]:
        """Lengths of the loops around it, outermost first."""
        return tuple(box.size for box in self.boxes if box.kind == "loop")

    @property
    def plates(self) -> tuple[tuple[str, int], ...]:
        """Names and sizes of its plates, outermost first."""
        return tuple((box.name, box.size) for box in self.boxes if box.kind == "plate")


@dataclass(frozen=True)
class Dependence:
    """The graph: vertices in the order of evaluation, and edges (from, to) with True where only a later step reads."""

    vertices: dict[Address, Vertex] = field(default_factory=dict)
    edges: dict[tuple[Address, Address], bool] = field(default_factory=dict)

    def ancestors(self, start: Iterable[Address]) -> set[Address]:
        """Every vertex from which a path leads to one of the given ones, themselves included."""
        parents: dict[Address, list[Address]] = {}
        for tail, head in self.edges:
            parents.setdefault(head, []).append(tail)
        waiting, found = list(start), set(start)
        while waiting:
            for parent in parents.get(waiting.pop(), ()):
                if parent not in found:
                    found.add(parent)
                    waiting.append(parent)
        return found


def dependence(form: Form, *, named: bool = False) -> Dependence:
    """Find the direct dependences of a form, through its deterministic operations, loops and branches.

    A site or factor in an arm depends also on what decides the branch.

    Args:
        form: the form.
        named: make vertices of `deterministic` values too; else the graph looks through them.

    >>> import numpyro.distributions as dist, lawful
    >>> def chain():
    ...     x = lawful.sample("x", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(2 * x, 1.0), obs=0.0)
    >>> dependence(lawful.trace(chain)).edges
    {(('x',), ('y',)): False}
    """
    walk = _Walk(named)
    walk.form(form, [frozenset()] * len(form.inputs), _Place())
    return walk.graph


def dependence_on(form: Form, inputs: Sequence[frozenset[Address]]) -> tuple[Dependence, list[frozenset[Address]]]:
    """Find the dependences of a form whose inputs stand for given vertices.

    Args:
        form: the form, as the body of a loop.
        inputs: what each input reads; the names are the caller's own.

    Returns: the graph, and what each output reads.
    """
    walk = _Walk(False)
    outputs = walk.form(form, inputs, _Place())
    return walk.graph, outputs


type _Reads = frozenset[Address]


@dataclass(frozen=True)
class _Place:
    path: str = ""
    boxes: tuple[Box, ...] = ()
    guards: _Reads = frozenset()
    carried: bool = False


class _Walk:
    def __init__(self, named: bool) -> None:
        self.named = named
        self.graph = Dependence()

    def form(self, form: Form, inputs: Sequence[_Reads], place: _Place) -> list[_Reads]:
        """Walk a form whose inputs read the given vertices; returns what its outputs read."""
        reads: dict[Var, _Reads] = dict(zip(form.inputs, inputs, strict=True))
        reads |= {variable: frozenset() for variable, _ in form.constants}
        for position, node in enumerate(form.nodes):
            reads |= self.node(node, reads, place, position)
        return [reads[v] for v in form.outputs]

    def node(self, node: Node, reads: dict[Var, _Reads], place: _Place, position: int) -> dict[Var, _Reads]:
        if isinstance(node, Loop):
            return self.loop(node, reads, replace(place, path=f"{place.path}/{position}"))
        if isinstance(node, Branch):
            return self.branch(node, reads, replace(place, path=f"{place.path}/{position}"))
        read = _union(reads[v] for v in node.ins)
        if isinstance(node, Det):
            if self.named and node.address is not None:
                self.add(node, node.address, read, place, "deterministic")
                read = frozenset({node.address})
            return dict.fromkeys(node.outs, read)
        self.add(node, node.address, read, place, "factor" if isinstance(node, Factor) else "sample")
        if isinstance(node, Factor):
            return {}
        return {node.out: frozenset({node.address}) if node.observed is None else reads[node.observed]}

    def add(self, node: Site | Factor | Det, address: Address, read: _Reads, place: _Place, kind: str) -> None:
        boxes = (*place.boxes, *(Box("plate", p.name, p.size, p.name) for p in node.plates))
        details: dict[str, Any] = {}
        if isinstance(node, Site):
            boxes = (*boxes, *(Box("plate", f.name, f.size, f.name) for f in node.frames))
            details = {"observed": node.observed is not None, "shape": node.out.shape, "label": node.law.label}
        elif isinstance(node, Det):
            shape = node.outs[0].shape
            whole = len(shape) >= len(node.frames) and all(f.size in shape for f in node.frames)  # else a sum over them
            boxes = (*boxes, *(Box("plate", f.name, f.size, f.name) for f in node.frames if whole))
            details = {"shape": shape}
        self.graph.vertices.setdefault(address, Vertex(address, kind, boxes=boxes, source=node.source, **details))
        for tail in sorted(read | place.guards):
            self.graph.edges.setdefault((tail, address), place.carried)

    def loop(self, node: Loop, reads: dict[Var, _Reads], place: _Place) -> dict[Var, _Reads]:
        box = Box("loop", f"loop of {node.length}", node.length, place.path)
        inside = replace(place, boxes=(*place.boxes, box))
        constants, xs = [reads[v] for v in node.constants], [reads[v] for v in node.xs]
        carry = [reads[v] for v in node.init]
        while True:
            out = self.form(node.body, [*constants, *carry, *xs], inside)
            grown = [before | after for before, after in zip(carry, out, strict=False)]
            if grown == carry:
                return dict(zip(node.outs, [*carry, *out[len(carry) :]], strict=True))
            carry, inside = grown, replace(inside, carried=True)

    def branch(self, node: Branch, reads: dict[Var, _Reads], place: _Place) -> dict[Var, _Reads]:
        deciding = reads[node.index]
        operands = [reads[v] for v in node.operands]
        arms = [
            self.form(arm, operands, replace(place, path=f"{place.path}.{k}", guards=place.guards | deciding))
            for k, arm in enumerate(node.forms)
        ]
        return {out: deciding | _union(arm[k] for arm in arms) for k, out in enumerate(node.outs)}


def _union(sets: Iterable[_Reads]) -> _Reads:
    return frozenset().union(*sets)
