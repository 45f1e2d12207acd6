"""Frames: a form whose choices are all given, evaluated on demand, slice by slice, before and after a change.

Law: `get(value, at, new)` is the slice `at` of the value in a run of the whole form at the old or the new choices. What
nobody asks for is not computed, and of a loop only the steps that are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from lawful.addresses import Address
from lawful.form import Branch, Det, Form, Loop, Node, Site, Var
from lawful.form.operations.equation import Equation

from .places_written import Equals, Scene, Slice, ones
from .reach import LONGEST, Mark, passes, reads_of, slices

type Origin = int | str  # the number of an index, or "first" or "last"


class NotLocal(Exception):
    """A step of a loop cannot be run without the steps before it."""

    def __init__(self, loop: Loop) -> None:
        """Name the loop."""
        super().__init__("a step reads what all steps before it made")
        self.loop = loop


class Frame:
    """One run of a form: at the top, of a body at one step of its loop, or of the function of a law.

    Args:
        scene: where operations are written.
        form: what runs.
        marks: which slices change.
        bind: gives input i, as `bind(i, at, new)`.
        steps: numbers of the indices of the loops around it.
        depth: how many nodes of the target's path lie around it, where the target is inside; else None.
        valid: whether the step exists; None where it always does.
        tag: names the run among others of the same form.
    """

    def __init__(
        self,
        scene: Scene,
        form: Form,
        marks: dict[Var, Mark],
        bind: Callable[[int, Slice, bool], Var],
        *,
        steps: tuple[int, ...] = (),
        depth: int | None = None,
        valid: Var | None = None,
        tag: tuple[str, ...] = (),
    ) -> None:
        """Compute nothing yet."""
        self.scene, self.form, self.marks, self.bind = scene, form, marks, bind
        self.steps, self.depth, self.valid, self.tag = steps, depth, valid, tag
        self.inputs = {v: i for i, v in enumerate(form.inputs)}
        self.constants = dict(form.constants)
        self.made: dict[Var, tuple[Node, int]] = {
            out: (node, k) for node in form.nodes for k, out in enumerate(node.outs)
        }
        self.known: dict[tuple[Var, Slice, bool], Var] = {}
        self.loops: dict[Loop, Steps] = {}

    def get(self, value: Var, at: Slice = (), new: bool = False) -> Var:
        """Give a slice of a value, before or after the change."""
        if self.marks.get(value) is None:
            new = False
        key = (value, at, new)
        if key not in self.known:
            self.known[key] = self._make(value, at, new)
        return self.known[key]

    def changed(self, value: Var) -> Slice | None:
        """Say which slice of a value changes; None where it does not."""
        mark = self.marks.get(value)
        return None if mark is None else tuple(sorted(mark.items()))

    def given(self, address: Address, at: Slice = ()) -> Var:
        """Give the old value of a choice at the steps of this run."""
        return self.scene.take(self.scene.values[address], at, self.steps)

    def steps_of(self, loop: Loop) -> Steps:
        """Give the view of a loop of this form."""
        if loop not in self.loops:
            self.loops[loop] = Steps(self, loop)
        return self.loops[loop]

    def touched(self, node: Node) -> bool:
        """Tell whether a change reaches a node."""
        return self.scene.reach.on_path(node, self.depth) or any(self.marks.get(v) is not None for v in node.ins)

    def _make(self, value: Var, at: Slice, new: bool) -> Var:
        if value in self.inputs:
            return self.bind(self.inputs[value], at, new)
        if value in self.constants:
            return self.scene.take(self.scene.constant(value, self.constants[value]), at)
        node, k = self.made[value]
        if isinstance(node, Det):
            return self._det(node, k, at, new)
        if isinstance(node, Site):
            return self.get(node.observed, at, new) if node.observed is not None else self._choice(node, at, new)
        if isinstance(node, Loop):
            return self.steps_of(node).out(k, at, new)
        assert isinstance(node, Branch)
        return self.scene.take(self.scene.opaque(self, node, k, new), at)

    def _det(self, node: Det, k: int, at: Slice, new: bool) -> Var:
        if passes(node):
            return self.get(node.ins[0], at, new)
        kept: list[tuple[int, int]] = []
        reads: list[list[tuple[int, int]]] = [[] for _ in node.ins]
        function = node.function
        if at and slices(node):
            known = reads_of(node)
            for axis, q in at:
                if axis in known:
                    kept.append((axis, q))
                    for position, a in enumerate(known[axis]):
                        if a is not None:
                            reads[position].append((a, q))
            function = _smaller(node, [axis for axis, _ in kept], known)
        self._note(node, tuple(kept))
        operands = [self.get(v, tuple(sorted(r)), new) for v, r in zip(node.ins, reads, strict=True)]
        if not kept:
            outs = tuple(v.like() for v in node.outs)
        else:
            outs = (Var(ones(node.outs[0].shape, [a for a, _ in kept]), node.outs[0].dtype),)
        self.scene.block.nodes.append(replace(node, function=function, ins=tuple(operands), outs=outs))
        for position, out in enumerate(outs):
            self.known[node.outs[position], tuple(kept), new] = out
        rest = tuple(pair for pair in at if pair not in kept)
        return self.scene.take(outs[k], rest)

    def _note(self, node: Det, kept: Slice) -> None:
        """Do nothing; a draw watches over its random numbers."""

    def _choice(self, node: Site, at: Slice, new: bool) -> Var:
        old = self.given(node.address, at)
        if not new:
            return old
        target, element = self.scene.reach.target, self.scene.element
        assert element is not None
        first = len(target.loops)
        everywhere: Slice = tuple((axis, first + axis) for axis in range(len(target.units)))
        if at == everywhere:
            return element
        return self.scene.take(self.scene.put(self.given(node.address), element, everywhere), at)


class Steps:
    """A loop, looked at step by step: only the steps that are asked for are run."""

    def __init__(self, frame: Frame, node: Loop) -> None:
        """Ask which steps a change reaches."""
        self.frame, self.node, self.scene = frame, node, frame.scene
        marks = [frame.marks.get(v) for v in node.ins]
        reach = self.scene.reach
        self.depth = frame.depth if reach.on_path(node, frame.depth) else None
        self.touched = frame.touched(node)
        self.window = reach.window(node, marks, self.depth) if self.touched else None
        self.whole = self.touched and self.window is None
        self.frames: dict[tuple[Origin, int], Frame] = {}

    @property
    def start(self) -> Origin:
        """Where the steps that a change reaches begin."""
        assert self.window is not None
        return "first" if self.window.start is None else self.window.start

    def reached(self) -> list[Frame]:
        """List the runs of the steps that a change reaches."""
        return [self.at(self.start, j) for j in range(len(self.window.copies))] if self.window is not None else []

    def at(self, origin: Origin, offset: int) -> Frame:
        """Give the run of the body `offset` steps after an origin."""
        key = (origin, offset)
        if key not in self.frames:
            if offset < -LONGEST:
                raise NotLocal(self.node)
            number, inside = self._index(origin, offset)
            marks: dict[Var, Mark] = {}
            depth = None
            if self.window is not None and origin == self.start and 0 <= offset < len(self.window.copies):
                marks = self.window.copies[offset]
                depth = self.depth + 1 if self.depth is not None and not offset else None
            self.frames[key] = Frame(
                self.scene,
                self.node.body,
                marks,
                lambda position, at, new: self._input(origin, offset, number, position, at, new),
                steps=(*self.frame.steps, number),
                depth=depth,
                valid=self.scene.both(self.frame.valid, inside),
                tag=(*self.frame.tag, f"{origin}{offset:+d}"),
            )
        return self.frames[key]

    def _index(self, origin: Origin, offset: int) -> tuple[int, Var | None]:
        length, sign = self.node.length, -1 if self.node.reverse else 1
        if isinstance(origin, int):
            return self.scene.index(origin, sign * offset, length)
        first, last = (length - 1, 0) if self.node.reverse else (0, length - 1)
        step = (first if origin == "first" else last) + sign * offset
        return self.scene.index(None, min(max(step, 0), length - 1), length)

    def _input(self, origin: Origin, offset: int, number: int, position: int, at: Slice, new: bool) -> Var:
        node, n_const, n_carry = self.node, len(self.node.constants), len(self.node.init)
        if position < n_const:
            return self.frame.get(node.constants[position], at, new)
        if position < n_const + n_carry:
            return self._carry(origin, offset, position - n_const, at, new)
        value = node.xs[position - n_const - n_carry]
        row = self.frame.get(value, ((0, number), *((a + 1, q) for a, q in at)), new)
        return self.scene.emit(_first_row, (row,), row.shape[1:], row.dtype, "row")

    def _carry(self, origin: Origin, offset: int, k: int, at: Slice, new: bool) -> Var:
        """Give what a step receives: what the step before gives, or the start of the loop."""
        out, init = self.node.body.outputs[k], self.node.init[k]
        if isinstance(origin, str):
            before = offset if origin == "first" else self.node.length - 1 + offset
            return self.frame.get(init, at, new) if before == 0 else self.at(origin, offset - 1).get(out, at, new)
        if offset > 0:
            return self.at(origin, offset - 1).get(out, at, new)
        start = self.frame.get(init, at, new)
        if -offset >= self.node.length:
            return start  # there is no such step
        number, _ = self._index(origin, offset)
        # The step that is `offset` before the first one reads the start, whatever it makes of it.
        first = self.node.length - 1 if self.node.reverse else 0
        is_first = self.scene.emit(Equals(first), (self.scene.indices[number],), (), jnp.dtype(bool), "first step?")
        return self.scene.choose(is_first, start, self.at(origin, offset - 1).get(out, at, new))

    def out(self, k: int, at: Slice, new: bool) -> Var:
        """Give a slice of a result of the loop."""
        if self.whole:
            return self.scene.take(self.scene.opaque(self.frame, self.node, k, new), at)
        n_carry = len(self.node.init)
        if k < n_carry:
            return self._last(k, at, new)
        out = self.node.body.outputs[k]
        lead = [q for a, q in at if a == 0]
        inner: Slice = tuple((a - 1, q) for a, q in at if a > 0)
        if lead:
            try:
                row = self.at(lead[0], 0).get(out, inner, new)
            except NotLocal:
                if new:
                    raise
                return self.scene.take(self.scene.opaque(self.frame, self.node, k, False), at)
            return self.scene.emit(_as_row, (row,), (1, *row.shape), row.dtype, "row")
        whole = self.scene.opaque(self.frame, self.node, k, False)
        if new:
            for run in self.reached():
                if run.marks.get(out) is not None:
                    row = run.get(out, (), True)
                    if run.valid is not None:  # a step that does not exist leaves what the steps before it wrote
                        row = self.scene.choose(run.valid, row, self.scene.take(whole, (), run.steps[-1:]))
                    whole = self.scene.put(whole, row, (), run.steps[-1:])
        return self.scene.take(whole, at)

    def _last(self, k: int, at: Slice, new: bool) -> Var:
        """Give a slice of the last carry."""
        out = self.node.body.outputs[k]
        if not self.node.length:
            return self.frame.get(self.node.init[k], at, new)
        try:
            result = self.at("last", 0).get(out, at, False)
        except NotLocal:
            result = self.scene.take(self.scene.opaque(self.frame, self.node, k, False), at)
        if not new:
            return result
        last = 0 if self.node.reverse else self.node.length - 1
        for j, run in enumerate(self.reached()):
            if run.marks.get(out) is None:
                continue
            there = run.get(out, at, True)
            if self.start == "first":
                result = there if j == self.node.length - 1 else result
                continue
            index = self.scene.indices[run.steps[-1]]
            is_last = self.scene.emit(Equals(last), (index,), (), jnp.dtype(bool), "last step?")
            inside = self.scene.both(is_last, self._index(self.start, j)[1])
            assert inside is not None
            result = self.scene.choose(inside, there, result)
        return result


def _smaller(node: Det, axes: Sequence[int], known: dict[int, tuple[int | None, ...]]) -> Equation:
    function: Any = node.function
    return function.smaller(axes, [known[a] for a in axes]) if axes else function


def _first_row(value: Any) -> Any:
    return value.reshape(value.shape[1:])


def _as_row(value: Any) -> Any:
    return value.reshape((1, *value.shape))


def alone(node: Branch | Loop) -> Form:
    """Give a node as a form: its inputs are what the node reads, each once.

    A branch gets a name of its own: at one step of a loop it may have one outcome only, where the program's has more.
    """
    inputs = tuple(dict.fromkeys(node.ins))
    if isinstance(node, Branch):
        node = replace(node, label=f"~{node.label}")
    return Form(inputs, (node,), node.outs)
