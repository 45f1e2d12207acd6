"""Reach: which slice of each value of a form can change when one part of one choice changes, all others being given.

Law: a value without a mark stays what it is, and a marked value changes on the marked slice alone, whatever the new
value of the part. A branch whose index changes counts as changed as a whole, since sites begin or stop to run in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lawful.form import Branch, Det, Form, Loop, Node, Site, Var, walk
from lawful.form.operations.equation import Equation

# Which slice changes: an axis, and the number of the index at which; no axis means anywhere. None: no change.
type Mark = dict[int, int] | None

LONGEST = 4  # steps of a loop that a change at one step may reach, and steps back that a step may look


@dataclass(frozen=True)
class Target:
    """The part of a form that moves: one element of a site's batch, or all of a branch, at one step of its loops.

    Attributes:
        path: the loops around it, outermost first, then the site or the branch itself.
    """

    path: tuple[Node, ...]

    @property
    def node(self) -> Any:
        """The site or the branch."""
        return self.path[-1]

    @property
    def loops(self) -> tuple[int, ...]:
        """Lengths of the loops, outermost first."""
        return tuple(node.length for node in self.path[:-1] if isinstance(node, Loop))

    @property
    def units(self) -> tuple[int, ...]:
        """Shape of the independent parts of a site; a branch is one part."""
        return self.node.law.units if isinstance(self.node, Site) else ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Ranges of the indices that choose a part."""
        return (*self.loops, *self.units)


def targets(form: Form, outer: tuple[Node, ...] = ()) -> Iterator[Target]:
    """List all that can move in a form: sites, and branches that hold sites.

    >>> import numpyro.distributions as dist, lawful
    >>> def step(x, _):
    ...     return lawful.sample("x", dist.Normal(x, 1.0)), None
    >>> [target.sizes for target in targets(lawful.trace(lambda: lawful.scan(step, 0.0, None, length=3)[0]))]
    [(3,)]
    """
    for node in form.nodes:
        if isinstance(node, Site) and node.observed is None:
            yield Target((*outer, node))
        elif isinstance(node, Loop):
            yield from targets(node.body, (*outer, node))
        elif isinstance(node, Branch) and any(holds_choices(arm) for arm in node.forms):
            yield Target((*outer, node))


def holds_choices(form: Form) -> bool:
    """Tell whether a form holds a latent site."""
    return any(isinstance(node, Site) and node.observed is None for node in walk(form))


@dataclass(frozen=True)
class Window:
    """The steps of a loop that a change reaches: marks of the values of its body, step after step.

    Attributes:
        start: the number of the index at which the first of them stands; None: the first step of the loop.
        copies: marks of the values of the body.
    """

    start: int | None
    copies: tuple[dict[Var, Mark], ...]


@dataclass
class Reach:
    """The analysis for one target; loops in `whole` are never looked at step by step."""

    target: Target
    whole: frozenset[Loop] = frozenset()
    _windows: dict[Any, Window | None] = field(default_factory=dict)

    def marks(self, form: Form, inputs: Sequence[Mark], depth: int | None = None) -> dict[Var, Mark]:
        """Mark the values of a form.

        Args:
            form: the form.
            inputs: marks of its inputs.
            depth: how many nodes of the target's path lie around the form, where the target is inside; else None.
        """
        found: dict[Var, Mark] = dict(zip(form.inputs, inputs, strict=True))
        for node in form.nodes:
            found |= self._node(node, found, depth)
        return found

    def _node(self, node: Node, found: Mapping[Var, Mark], depth: int | None) -> dict[Var, Mark]:
        marks = [found.get(v) for v in node.ins]
        here = self.on_path(node, depth)
        if isinstance(node, Det):
            return det_marks(node, marks)
        if isinstance(node, Site):
            if here:
                first = len(self.target.loops)
                return {node.out: {axis: first + axis for axis in range(len(self.target.units))}}
            return {node.out: None if node.observed is None else found.get(node.observed)}
        if isinstance(node, Branch):
            if here or found.get(node.index) is not None:
                return {out: {} for out in node.outs}
            operands = [found.get(v) for v in node.operands]
            arms = [(arm, self.marks(arm, operands)) for arm in node.forms]
            return {out: join(inside.get(arm.outputs[k]) for arm, inside in arms) for k, out in enumerate(node.outs)}
        if isinstance(node, Loop):
            if not here and not any(m is not None for m in marks):
                return {}
            return self._loop(node, marks, depth if here else None)
        return {}

    def on_path(self, node: Node, depth: int | None) -> bool:
        """Tell whether a node is the target or a loop around it."""
        return depth is not None and depth < len(self.target.path) and self.target.path[depth] is node

    def _loop(self, node: Loop, marks: Sequence[Mark], depth: int | None) -> dict[Var, Mark]:
        window = self.window(node, marks, depth)
        if window is None:
            return {out: {} for out in node.outs}
        n = len(node.init)
        carries = [join(copy.get(node.body.outputs[k]) for copy in window.copies) for k in range(n)]
        ys: list[Mark] = []
        for out in node.body.outputs[n:]:
            first, later = window.copies[0].get(out), join(copy.get(out) for copy in window.copies[1:])
            if first is None and later is None:
                ys.append(None)
            elif later is not None or first is None or window.start is None:
                ys.append({})
            else:
                ys.append({0: window.start, **{a + 1: q for a, q in first.items()}})
        return dict(zip(node.outs, [*carries, *ys], strict=True))

    def window(self, node: Loop, marks: Sequence[Mark], depth: int | None) -> Window | None:
        """Say which steps of a loop a change reaches; None where it may reach all of them.

        Args:
            node: the loop.
            marks: of its operands.
            depth: the place of the loop on the target's path, where the target is inside; else None.
        """
        key = (node, tuple(None if m is None else tuple(sorted(m.items())) for m in marks), depth)
        if key not in self._windows:
            self._windows[key] = self._window(node, marks, depth)
        return self._windows[key]

    def _window(self, node: Loop, marks: Sequence[Mark], depth: int | None) -> Window | None:
        n_const, n_carry = len(node.constants), len(node.init)
        constants, init, xs = marks[:n_const], marks[n_const : n_const + n_carry], marks[n_const + n_carry :]
        starts = {m.get(0) for m in xs if m is not None}
        if depth is not None:
            starts.add(depth)
        late = any(m is not None for m in init)
        if node in self.whole or node.length == 0 or any(m is not None for m in constants):
            return None
        if None in starts or len(starts) > 1 or (starts and late):
            return None
        start = next(iter(starts), None)
        shifted: list[Mark] = [None if m is None else {a - 1: q for a, q in m.items() if a > 0} for m in xs]
        carry: list[Mark] = list(init)
        copies: list[dict[Var, Mark]] = []
        while len(copies) < min(LONGEST, node.length):
            inner = None if depth is None or copies else depth + 1
            found = self.marks(node.body, [*[None] * n_const, *carry, *shifted], inner)
            copies.append(found)
            carry = [found.get(v) for v in node.body.outputs[:n_carry]]
            shifted = [None] * len(xs)
            if not any(m is not None for m in carry):
                return Window(start, tuple(copies))
        return Window(start, tuple(copies)) if len(copies) == node.length else None


def det_marks(node: Det, marks: Sequence[Mark]) -> dict[Var, Mark]:
    """Mark the results of an operation."""
    if not any(m is not None for m in marks):
        return {}
    if passes(node):
        return {node.outs[0]: marks[0]}
    if not slices(node):
        return {out: {} for out in node.outs}
    out = node.outs[0]
    reads = reads_of(node)
    parts: list[Mark] = []
    for position, mark in enumerate(marks):
        if mark is not None:
            parts.append({k: mark[a] for k, read in reads.items() if (a := read[position]) is not None and a in mark})
    return {out: join(parts)}


def reads_of(node: Det) -> dict[int, tuple[int | None, ...]]:
    """Say for each axis of the result of an operation along which axes its operands are read, where that is known."""
    shapes = full_shapes(node)
    function: Any = node.function
    found = {}
    for axis in range(len(node.outs[0].shape)):
        read = function.axes_read(shapes, node.outs[0].shape, axis)
        if read is not None:
            found[axis] = tuple(r for r, literal in zip(read, function.literals, strict=True) if literal is None)
    return found


def full_shapes(node: Det) -> list[tuple[int, ...]]:
    """Shapes of all operands of an operation, written numbers included."""
    function: Any = node.function
    return function.operands([v.shape for v in node.ins], lambda literal: ())


def slices(node: Det) -> bool:
    """Tell whether an operation is one of JAX on plain arrays, which may be sliced."""
    plain = not node.plates and not any(v.plates for v in (*node.ins, *node.outs))
    return isinstance(node.function, Equation) and plain and len(node.outs) == 1


def passes(node: Det) -> bool:
    """Tell whether a node gives its operand on as it is: a named value."""
    return node.address is not None and len(node.ins) == 1 and node.ins[0].shape == node.outs[0].shape


def join(marks: Any) -> Mark:
    """Mark what any of several changes reach: the axes on which they agree."""
    found: Mark = None
    for mark in marks:
        if mark is not None:
            found = dict(mark) if found is None else {a: q for a, q in found.items() if mark.get(a) == q}
    return found
