"""Local: the terms of a density that the move of one part reaches, before and after it, and what the move changes.

Law: the sums after, less the sums before, are the difference of the log densities of the two states, whatever moved,
also where other arms run. Sites that begin to run are drawn from their prior; `drawn` holds the densities of what is
drawn by the move, and of what it replaces or drops, apart from the rest, since they cancel in the acceptance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.form import Branch, Det, Factor, Form, Loop, Site, Var
from lawful.form.builder import Block, total
from lawful.form.choices import Choice, choices_of
from lawful.form.liveness import without_dead_code
from lawful.form.operations.equation import Equation
from lawful.inference.kernels.local.frames import Frame, NotLocal, alone
from lawful.inference.kernels.local.places_written import Scene, Slice
from lawful.inference.kernels.local.reach import Reach, Target
from lawful.passes.thread_sites import Given, interpose

from ..base.redraw import PREFIX, Redraw, ScoreKept
from .element import element_site, scoring_form


@dataclass(frozen=True)
class Edit:
    """A slice of the state that a move writes: a value or a flag of a choice.

    Attributes:
        address: the choice.
        flag: whether it is the flag.
        steps: numbers of the indices of the leading axes, which the part lacks.
        at: further axes of which the part has one element, with the numbers of their indices.
        part: what is written.
        valid: whether it is written; None always.
    """

    address: Address
    flag: bool
    steps: tuple[int, ...]
    at: Slice
    part: Var
    valid: Var | None


@dataclass
class Sums:
    """Terms of one state: of the prior of what stays, of likelihood and factors, and of what the move draws."""

    kept: list[Var] = field(default_factory=list)
    likelihood: list[Var] = field(default_factory=list)
    drawn: list[Var] = field(default_factory=list)


@dataclass(frozen=True)
class State:
    """The old state, by address: values and flags with the axes of their loops."""

    values: Mapping[Address, Var]
    flags: Mapping[Address, Var]


class Local(Scene):
    """The move of one target, written into a block.

    Args:
        block: receives the operations.
        form: the program, its calls opened.
        target: what moves.
        indices: the indices that choose the part, loops first.
        inputs: the program's inputs.
        state: the old state.
        again: for a branch, which of the parts inside are drawn again, by address.
        whole: loops that cannot be looked at step by step.
    """

    def __init__(
        self,
        block: Block,
        form: Form,
        target: Target,
        indices: Sequence[Var],
        inputs: Sequence[Var],
        state: State,
        again: Mapping[Address, Var],
        whole: frozenset[Loop] = frozenset(),
    ) -> None:
        """Write the whole move."""
        super().__init__(block, Reach(target, whole), indices, dict(state.values))
        self.target, self.state, self.again = target, state, again
        self.old, self.new = Sums(), Sums()
        self.edits: list[Edit] = []
        self.flags_after: dict[Address, tuple[int, Var]] = {}
        self._runs: dict[tuple[int, Any], tuple[Sequence[Var], Sequence[Var]]] = {}
        marks = self.reach.marks(form, [None] * len(form.inputs), 0)
        root = Frame(self, form, marks, lambda i, at, new: self.take(inputs[i], at), depth=0)
        self._draw(root)
        self._terms(root)

    def sums(self, new: bool) -> tuple[Var, Var, Var]:
        """Give the sums of one state: kept prior, likelihood, drawn prior."""
        sums = self.new if new else self.old
        return total(self.block, sums.kept), total(self.block, sums.likelihood), total(self.block, sums.drawn)

    # ---- the part that moves

    def _draw(self, root: Frame) -> None:
        """Draw the new value of a site's part, unless a loop around it runs as a whole."""
        frame = root
        for node in self.target.path[:-1]:
            assert isinstance(node, Loop)
            steps = frame.steps_of(node)
            if steps.whole:
                return
            frame = steps.at(steps.start, 0)
        node = self.target.node
        if not isinstance(node, Site):
            return
        first = len(self.target.loops)
        at: Slice = tuple((axis, first + axis) for axis in range(len(self.target.units)))
        self.element = element_site(frame, node, at)
        self.edits.append(Edit(node.address, False, frame.steps, at, self.element, None))
        values = frame.get(node.out, at, False), self.element
        for sums, value in zip((self.old, self.new), values, strict=True):
            sums.drawn.append(self._score(frame, node, at, value))

    def _score(self, frame: Frame, node: Site, at: Slice, value: Var) -> Var:
        """Score one part of a site at a value."""
        scoring = scoring_form(node)

        def bind(i: int, where: Slice, new: bool) -> Var:
            if i:
                return frame.get(node.parameters[i - 1], where, new)
            return value if where == at else self.take(self.put(frame.get(node.out), value, at), where)

        inner = Frame(self, scoring, {}, bind)
        return self._sum(inner.get(scoring.outputs[0], at))

    def _sum(self, value: Var) -> Var:
        return self.emit(jnp.sum, (value,), (), value.dtype, "sum") if value.shape else value

    # ---- terms

    def _terms(self, frame: Frame) -> None:
        """Add the terms of a run that a change reaches."""
        for node in frame.form.nodes:
            if isinstance(node, Site):
                if not self.reach.on_path(node, frame.depth) and frame.touched(node):
                    self._site(frame, node)
            elif isinstance(node, Factor):
                self._factor(frame, node)
            elif isinstance(node, Branch) and frame.touched(node):
                self._runs_of(frame, node)
            elif isinstance(node, Loop) and frame.touched(node):
                steps = frame.steps_of(node)
                if steps.whole:
                    self._runs_of(frame, node)
                for run in steps.reached():
                    self._terms(run)

    def _site(self, frame: Frame, node: Site) -> None:
        scoring = scoring_form(node)
        operands = (node.out if node.observed is None else node.observed, *node.parameters)
        marks = self.reach.marks(scoring, [frame.marks.get(v) for v in operands])
        inner = Frame(self, scoring, marks, lambda i, at, new: frame.get(operands[i], at, new))
        at = inner.changed(scoring.outputs[0])
        if at is None:
            return
        for sums, new in ((self.old, False), (self.new, True)):
            terms = sums.kept if node.observed is None else sums.likelihood
            terms.append(self._valid(frame, self._sum(inner.get(scoring.outputs[0], at, new))))

    def _factor(self, frame: Frame, node: Factor) -> None:
        for sign, value, at in _addends(frame, node.term):
            for sums, new in ((self.old, False), (self.new, True)):
                term = self._sum(frame.get(value, at, new))
                term = term if sign > 0 else self.emit(jnp.negative, (term,), (), term.dtype, "minus")
                sums.likelihood.append(self._valid(frame, term))

    def _valid(self, frame: Frame, term: Var) -> Var:
        """Count a term where its step exists."""
        if frame.valid is None:
            return term
        return self.emit(_counted, (frame.valid, term), (), term.dtype, "counted")

    # ---- branches, and loops that are not looked at step by step

    def opaque(self, frame: Frame, node: Branch | Loop, k: int, new: bool) -> Var:
        """Give a result of a node that runs as a whole, at the old choices, or where a change reaches it at the new."""
        by_steps = isinstance(node, Loop) and not frame.steps_of(node).whole  # its new values are written step by step
        if by_steps or not frame.touched(node):
            return self._still(frame, node, k)
        return self._runs_of(frame, node)[new][k]

    def _runs_of(self, frame: Frame, node: Branch | Loop) -> tuple[Sequence[Var], Sequence[Var]]:
        key = (id(frame), node)
        if key not in self._runs:
            self._runs[key] = self._moved(frame, node, alone(node))
        return self._runs[key]

    def _still(self, frame: Frame, node: Branch | Loop, k: int) -> Var:
        """Run what one result of a node reads, the choices being given."""
        form = alone(node)
        scored = interpose(form, Given())
        small = without_dead_code(replace(scored.form, outputs=(scored.form.outputs[k],)))
        read = {v for inner in small.nodes for v in inner.ins} | set(small.outputs)
        given = dict(zip(form.inputs, form.inputs, strict=True))
        inputs = []
        for position, v in enumerate(small.inputs):
            if v not in read:
                inputs.append(self.block.constant(np.zeros(v.full_shape, v.dtype)))
            elif v in given:
                inputs.append(frame.get(v))
            else:
                inputs.append(frame.given(scored.choices[position - len(form.inputs)].address))
        return self.block.splice(small, inputs)[0]

    def _moved(self, frame: Frame, node: Branch | Loop, form: Form) -> tuple[Sequence[Var], Sequence[Var]]:
        here = self.reach.on_path(node, frame.depth)
        choices = choices_of(form)
        fixed = frozenset(c.address for c in choices if not c.conditional and not (here and self._moves(c.address)))
        redraw = interpose(form, Redraw((PREFIX, "value", *frame.tag), fixed))
        olds = [frame.given(c.address) for c in choices]
        given = []
        for choice, old in zip(choices, olds, strict=True):
            given += [old, self._was(frame, choice), self._again(frame, choice, here)]
        new = redraw.spliced(self.block, [*(frame.get(v, (), True) for v in form.inputs), *given])
        news, kept, drawn = ([group[k] for group in new.outputs] for k in range(3))
        pairs = [v for pair in zip(olds, kept, strict=True) for v in pair]
        before = interpose(form, ScoreKept()).spliced(self.block, [*(frame.get(v) for v in form.inputs), *pairs])
        self._count(frame, self.new, new.sums, drawn)
        self._count(frame, self.old, before.sums, before.values)
        flags = dict(zip((c.address for c in choices if c.conditional), new.flags, strict=True))
        for choice, value in zip(choices, news, strict=True):
            if choice.address in fixed:
                continue
            self.edits.append(Edit(choice.address, False, frame.steps, (), value, frame.valid))
            if choice.address in flags:
                flag = flags[choice.address]
                self.edits.append(Edit(choice.address, True, frame.steps, (), flag, frame.valid))
                if here:
                    self.flags_after[choice.address] = len(frame.steps), flag
        return before.own, new.own

    def _count(self, frame: Frame, sums: Sums, terms: Sequence[Var], drawn: Sequence[Var]) -> None:
        sums.kept.append(self._valid(frame, terms[0]))
        sums.likelihood.append(self._valid(frame, terms[1]))
        sums.drawn.extend(self._valid(frame, self._sum(term)) for term in drawn)

    def _moves(self, address: Address) -> bool:
        """Tell whether a choice is the target, or a part of it."""
        node = self.target.node
        return address == node.address if isinstance(node, Site) else address in self.again

    def _was(self, frame: Frame, choice: Choice) -> Var:
        """Give the flags of a choice at the steps of a run."""
        if choice.address in self.state.flags:
            return self.take(self.state.flags[choice.address], (), frame.steps)
        return self.block.constant(np.ones(choice.loops, bool))

    def _again(self, frame: Frame, choice: Choice, here: bool) -> Var:
        """Mark the parts of a choice that are drawn again."""
        shape = (*choice.loops, *choice.units)
        none = self.block.constant(np.zeros(shape, bool))
        if not here or not self._moves(choice.address):
            return none
        inside = tuple(range(len(frame.steps), len(self.target.loops)))
        if isinstance(self.target.node, Site):
            first = len(self.target.loops)
            one = self.block.constant(np.ones((1,) * len(choice.units), bool))
            at: Slice = tuple((a, first + a) for a in range(len(self.target.units)))
            return self.put(none, one, at, inside) if at or inside else one
        return self.put(none, self.again[choice.address], (), inside)


def write_move(block: Block, build: Callable[[frozenset[Loop]], Local]) -> Local:
    """Write a move, with the loops that it cannot look into step by step run as a whole."""
    whole: frozenset[Loop] = frozenset()
    start = len(block.nodes), len(block.constants)
    while True:
        try:
            return build(whole)
        except NotLocal as error:
            del block.nodes[start[0] :], block.constants[start[1] :]
            whole |= {error.loop}


def _addends(frame: Frame, term: Var) -> list[tuple[int, Var, Slice]]:
    """Write a changing scalar as a sum of slices that change: (sign, value, slice); what stays is left out."""
    at = frame.changed(term)
    if at is None:
        return []
    made = frame.made.get(term)
    if made is not None and isinstance(made[0], Det) and isinstance(made[0].function, Equation):
        node = made[0]
        function: Any = node.function
        if function.row.totals and not node.outs[0].shape:
            inner = frame.changed(node.ins[0])
            return [(1, node.ins[0], inner or ())]
        if function.row.signs is not None and all(not v.shape for v in node.ins):
            signs = zip(function.row.signs, function.literals, strict=True)
            own = [sign for sign, literal in signs if literal is None]
            return [
                (sign * inner, value, where)
                for sign, v in zip(own, node.ins, strict=True)
                for inner, value, where in _addends(frame, v)
            ]
    return [(1, term, at)]


def _counted(valid: jax.Array, term: jax.Array) -> jax.Array:
    return jnp.where(valid, term, 0.0)
