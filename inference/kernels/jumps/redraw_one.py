"""Redraw one: one element of a plate is drawn anew, whatever it was, while the others stay.

Law: which element is chosen has the same law before and after the move, so given it the ratio is that of Metropolis and
Hastings for this element alone: where it is drawn from the prior its own terms cancel, and from a program both ways are
scored.

Why: an element of a mixture that no data need has the breadth of its prior, the others that of their data. Steps that
suit these take it nowhere, and a population whose spare elements do not roam carries on what a few ancestors had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of
from lawful.form.markov_blanket import Blanket, reached
from lawful.form.operations.sums import signed
from lawful.passes.thread_sites import interpose
from lawful.tracing.trace import trace

from ...contract import Contract
from ...laws.picks import UniformIndexLaw
from ...registered import stored_as
from ...representations.exchangeable import elements_of
from ...representations.kernel_form import Proposed, State
from ..base.base import INVARIANT, flag_per_choice, scored_anew
from ..base.proposal_rules import Draw, Score
from ..base.redraw import PREFIX, Redraw, ScoreKept
from ..base.rescore import rescored
from .program_proposal import Data
from .taken import Taken, taken


@dataclass(frozen=True)
class Elements:
    """The choices that hold the elements of a plate: their number, and the axis of each by its place in the state."""

    size: int
    axes: Mapping[int, int]
    reach: Blanket


@stored_as("kernels.redraw")
@dataclass(frozen=True)
class RedrawOne:
    """One element of a plate drawn anew; see `redraw`."""

    plate: str
    program: Callable[..., Any] | None = None
    contract: Contract = INVARIANT

    def propose(
        self, block: Block, program: Form, inputs: Sequence[Var], choices: Sequence[Choice], state: State
    ) -> Proposed:
        """Append the choice of the element, the draw, and both densities."""
        elements = self._elements(program)
        count = block.constant(np.asarray(elements.size, np.int32))
        which = block.site((PREFIX, "element"), UniformIndexLaw(elements.size), (count,))
        write = self._from_prior if self.program is None else self._from_program
        return write(block, program, inputs, choices, state, elements, which)

    def _from_prior(
        self, block: Block, program: Form, inputs: Sequence[Var], choices: Sequence[Choice], state: State,
        elements: Elements, which: Var,
    ) -> Proposed:  # fmt: skip
        """Append a draw of the element from its prior, given the other choices."""
        given, kept = list[Var](), list[Var]()
        flags = flag_per_choice(block, choices, state.flags)
        for number, (choice, old, flag) in enumerate(zip(choices, state.values, flags, strict=True)):
            shape, axis = (*choice.loops, *choice.units), elements.axes.get(number)
            again = block.det(_Marked(shape, axis), which, label="drawn anew?")
            given += [old, flag, again]
            kept += [old, block.det(jnp.logical_not, again, label="kept?")]
        reach = elements.reach.terms
        new = interpose(program, Redraw(), reach).spliced(block, [*inputs, *given])
        before = interpose(program, ScoreKept(), reach).spliced(block, [*inputs, *kept])
        values, _, drawn = ([group[k] for group in new.outputs] for k in range(3))
        ratio = signed(block, new.sums, before.sums, "log ratio")
        drawn_before = [v for (v,) in before.outputs]
        own, old_own = ([_whole(block, terms[n]) for n in elements.axes] for terms in (drawn, drawn_before))
        log_density = signed(block, (state.log_density, *new.sums, *own), (*before.sums, *old_own), "log density")
        return Proposed(State(tuple(values), new.flags, log_density), ratio, scored_anew(program))

    def _from_program(
        self, block: Block, program: Form, inputs: Sequence[Var], choices: Sequence[Choice], state: State,
        elements: Elements, which: Var,
    ) -> Proposed:  # fmt: skip
        """Append a draw of the element from a program, scored in both directions."""
        form, axes, takes = self._traced(program, elements)
        flags, given = flag_per_choice(block, choices, state.flags), takes.values(inputs)

        def operands(values: Sequence[Var]) -> list[Var]:
            return Data(block, choices, given).operands(True, values, flags)

        forth = interpose(form, Draw()).spliced(block, operands(state.values))
        values, old = list(state.values), list[Var]()
        for (number, axis), (fresh, _) in zip(axes.items(), forth.outputs, strict=True):
            old.append(block.det(_Element(axis), values[number], which, label="old element"))
            values[number] = block.det(_Put(axis), values[number], fresh, which, label="drawn anew")
        there = rescored(block, program, elements.reach, inputs, state.values, state.log_density, values)
        back = interpose(form, Score()).spliced(block, [*operands(values), *old])
        q_forth, q_back = (q for _, q in forth.outputs), (q for (q,) in back.outputs)
        ratio = signed(block, (there.after, *q_back), (there.before, *q_forth), "log ratio")
        return Proposed(State(tuple(values), there.flags, there.log_density), ratio, there.leave)

    def plan(self, program: Form) -> list[str]:
        """Say which site is moved how."""
        elements = self._elements(program)
        axes = elements.axes if self.program is None else self._traced(program, elements)[1]
        source = "its prior" if self.program is None else getattr(self.program, "__name__", "a program")
        said = f"one element of '{self.plate}' drawn anew from {source}"
        return [f"{c.name}: {said if n in axes else 'not moved'}" for n, c in enumerate(choices_of(program))]

    def _elements(self, program: Form) -> Elements:
        """Find the elements, and refuse those that a kernel cannot draw one by one."""
        choices = choices_of(program)
        found = elements_of(choices, self.plate, repr(self))
        reach = reached(program, [choices[number].address for number in found.own])
        for choice in (choices[number] for number in found.own):
            joint = not any(frame.name == self.plate for frame in choice.frames)
            if choice.conditional or reach.switched or (joint and self.program is None):
                what = (
                    "is drawn with all elements at once. Fix: give a program that proposes one element"
                    if joint
                    else "runs in a branch, or decides whether another site runs. Fix: move it by kernels.mh()"
                )
                raise UnsupportedProgramError(
                    f"{self!r}: site '{choice.name}' ({choice.source}) {what}.", site=choice.address
                )
        return Elements(found.size, found.own, reach)

    def _traced(self, program: Form, elements: Elements) -> tuple[Form, dict[int, int], Taken]:
        """Trace the proposal of one element.

        Returns: its Form, the axes of the choices that it draws in its order, and what it takes of the arguments.

        Raises: LawfulError where it draws something else than an element of sites of the plate.
        """
        assert self.program is not None
        choices = choices_of(program)
        takes = taken(self.program, 1, program, repr(self))
        arrays, named = takes.given([jax.ShapeDtypeStruct(v.shape, v.dtype) for v in program.inputs])
        state = {c.name: jax.ShapeDtypeStruct(c.full_shape, c.dtype) for c in choices}
        form = trace(self.program, state, *arrays, **named)
        known = {choices[number].name: (number, axis) for number, axis in elements.axes.items()}
        found = dict[int, int]()
        for choice in choices_of(form, ("sample", "observed", "factor")):
            number, axis = known.get(choice.name, (0, 0))
            whole = choices[number].full_shape
            one = whole[:axis] + whole[axis + 1 :]
            if choice.name not in known or choice.kind != "sample" or choice.conditional:
                raise LawfulError(
                    f"{self!r}: it has '{choice.name}' ({choice.source}), and may only draw, always, sites of the "
                    f"plate: {', '.join(known)}. Fix: draw one element of these."
                )
            if choice.full_shape != one or choice.dtype != choices[number].dtype:
                raise LawfulError(
                    f"{self!r}: it draws '{choice.name}' ({choice.source}) of shape {choice.full_shape} and type "
                    f"{choice.dtype}; one element has {one}, {choices[number].dtype}. Fix: draw one, outside the plate."
                )
            found[number] = axis
        return form, found, takes

    def __repr__(self) -> str:
        """Show plate and program."""
        shown = "" if self.program is None else f", {getattr(self.program, '__name__', 'program')}"
        return f"redraw({self.plate!r}{shown})"


def redraw(plate: str, proposal: Callable[..., Any] | None = None) -> RedrawOne:
    """Draw one element of a plate anew, as a class of a mixture, from its prior or from a program.

    Which one is equally likely for all. Elements that nothing needs roam their prior by it; in cycle with moves that
    suit the others it is exact for any plate.

    Args:
        plate: its name.
        proposal: draws one element of sites of the plate, under their names and outside any plate, as a function of
            the current choices and of the model's arguments, as for `mh`; for programs of `start_from`, `anew` of its
            mixture. Default: the prior of all sites of the plate given the other choices.

    Raises: when the kernel is built, LawfulError where there is no such plate, or the program draws something else;
        UnsupportedProgramError for an element that decides which sites run.

    >>> import numpyro.distributions as dist, lawful
    >>> def classes():
    ...     with lawful.plate("class", 3):
    ...         lawful.sample("level", dist.Normal(0.0, 2.0))
    >>> redraw("class").plan(lawful.trace(classes))
    ["level: one element of 'class' drawn anew from its prior"]
    """
    if not isinstance(plate, str) or not (proposal is None or callable(proposal)):
        raise LawfulError(
            f"redraw: expected the name of a plate and a program of one element, got {plate!r} and {proposal!r}."
        )
    return RedrawOne(plate, proposal)


@dataclass(frozen=True)
class _Marked:
    """Which parts of a value are those of the element; none where the value has none."""

    shape: tuple[int, ...]
    axis: int | None

    def __call__(self, which: jax.Array) -> jax.Array:
        if self.axis is None:
            return jnp.zeros(self.shape, bool)
        along = [-1 if axis == self.axis else 1 for axis in range(len(self.shape))]
        return jnp.broadcast_to((jnp.arange(self.shape[self.axis]) == which).reshape(along), self.shape)


@dataclass(frozen=True)
class _Element:
    """One element of a value."""

    axis: int

    def __call__(self, value: jax.Array, which: jax.Array) -> jax.Array:
        return jax.lax.dynamic_index_in_dim(value, which, self.axis, keepdims=False)


@dataclass(frozen=True)
class _Put:
    """A value with another element in a place."""

    axis: int

    def __call__(self, value: jax.Array, fresh: jax.Array, which: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_index_in_dim(value, fresh, which, self.axis)


def _whole(block: Block, term: Var) -> Var:
    found: Var = block.det(jnp.sum, term, label="sum") if term.shape else term
    return found
