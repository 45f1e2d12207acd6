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
from .fold import Fold
from .nodes import Branch, Det, Factor, Form, Loop, Site, Var


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


def dependence(form: Form, *, named: bool = False, inputs: Sequence[frozenset[Address]] | None = None) -> Dependence:
    """Find the direct dependences of a form, through its deterministic operations, loops and branches.

    A site or factor in an arm depends also on what decides the branch.

    Args:
        form: the form.
        named: make vertices of `deterministic` values too; else the graph looks through them.
        inputs: what each input reads, by names of the caller's own; default: nothing.

    >>> import numpyro.distributions as dist, lawful
    >>> def chain():
    ...     x = lawful.sample("x", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(2 * x, 1.0), obs=0.0)
    >>> dependence(lawful.trace(chain)).edges
    {(('x',), ('y',)): False}
    """
    walk = _Walk(named)
    walk(form, inputs or [frozenset()] * len(form.inputs))
    return walk.graph


type _Reads = frozenset[Address]


@dataclass(frozen=True)
class _Place:
    boxes: tuple[Box, ...] = ()
    guards: _Reads = frozenset()  # what decides whether it runs
    carried: bool = False  # whether a later step of a loop is met


class _Walk(Fold[_Reads]):
    """The meaning of a value is the set of vertices that it reads."""

    def __init__(self, named: bool) -> None:
        self.named, self.graph, self.place = named, Dependence(), _Place()
        self.keys: dict[tuple[tuple[Box, ...], Loop], str] = {}

    def constant(self, variable: Var, array: Any) -> _Reads:
        return frozenset()

    def join(self, meanings: Sequence[_Reads]) -> _Reads:
        return frozenset().union(*meanings)

    def det(self, node: Det, ins: list[_Reads]) -> Sequence[_Reads]:
        read = self.join(ins)
        if self.named and node.address is not None:
            self.add(node, node.address, read, "deterministic")
            read = frozenset({node.address})
        return [read] * len(node.outs)

    def site(self, node: Site, ins: list[_Reads]) -> _Reads:
        self.add(node, node.address, self.join(ins), "sample")
        return frozenset({node.address}) if node.observed is None else ins[-1]

    def factor(self, node: Factor, term: _Reads) -> None:
        self.add(node, node.address, term, "factor")

    def add(self, node: Site | Factor | Det, address: Address, read: _Reads, kind: str) -> None:
        frames, details = node.frames, dict[str, Any]()
        if isinstance(node, Site):
            details = {"observed": node.observed is not None, "shape": node.out.shape, "label": node.law.label}
        elif isinstance(node, Factor):
            frames = ()
        else:
            details = {"shape": (shape := node.outs[0].shape)}
            whole = len(shape) >= len(frames) and all(f.size in shape for f in frames)
            frames = frames if whole else ()  # it is a sum over them
        marks: list[Any] = [*node.plates, *frames]
        boxes = (*self.place.boxes, *(Box("plate", p.name, p.size, p.name) for p in marks))
        self.graph.vertices.setdefault(address, Vertex(address, kind, boxes=boxes, source=node.source, **details))
        for tail in sorted(read | self.place.guards):
            self.graph.edges.setdefault((tail, address), self.place.carried)

    def loop(self, node: Loop, ins: list[_Reads]) -> Sequence[_Reads]:
        outside, (constants, carry, xs) = self.place, node.split(ins)
        key = self.keys.setdefault((outside.boxes, node), str(len(self.keys)))
        box = Box("loop", f"loop of {node.length}", node.length, key)
        self.place = replace(outside, boxes=(*outside.boxes, box))
        while True:
            after, ys = node.split_out(self(node.body, [*constants, *carry, *xs]))
            grown = [before | now for before, now in zip(carry, after, strict=True)]
            if grown == carry:
                self.place = outside
                return [*carry, *ys]
            carry, self.place = grown, replace(self.place, carried=True)

    def branch(self, node: Branch, index: _Reads, operands: list[_Reads]) -> Sequence[_Reads]:
        outside = self.place
        self.place = replace(outside, guards=outside.guards | index)
        outs = super().branch(node, index, operands)
        self.place = outside
        return outs
