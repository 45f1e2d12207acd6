"""Base of kernels: Markov kernels on the choices of a program, written as Forms.

Law: pi K = pi, where pi is the program's measure on its choices. A kernel's own randomness (which site, which value,
accept or not) is made of sites, so its transition matrix on a finite program can be enumerated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import UnsupportedProgramError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.cached import per_form, through
from lawful.form.choices import Choice, choices_of
from lawful.form.liveness import without_dead_code
from lawful.passes.record import record
from lawful.passes.simplify import SIMPLIFIED

from ...contract import Contract
from ...representations.densities_of import exact as exact
from ...representations.densities_of import scoped as scoped
from ...representations.densities_of import scored as scored
from ...representations.densities_of import unweighed as unweighed
from ...representations.densities_of import without_weights as without_weights

INVARIANT = Contract("invariant_kernel", target="the program's posterior", reversible=True, parametric=True)


@dataclass(frozen=True)
class State:
    """Where the state of a chain lies among a Form's values.

    It has one value per choice, one flag per conditional choice, and the log density. The value of a choice whose arm
    does not run is kept but means nothing.
    """

    values: tuple[Var, ...]
    flags: tuple[Var, ...]
    log_density: Var

    @property
    def flat(self) -> tuple[Var, ...]:
        """All of it, in this order."""
        return (*self.values, *self.flags, self.log_density)


@dataclass(frozen=True)
class Proposed:
    """A proposal: the new state, the log of the Hastings ratio, and how the state is left, as of a `KernelForm`."""

    state: State
    log_ratio: Var
    leave: Form | None = None


@dataclass(frozen=True)
class KernelForm:
    """A kernel built for a program: the way from a state to what the kernel carries, its step, and the way back.

    Inputs of each form: the program's, then the state, or what is carried. A kernel without a way in carries a state.
    One whose way back scores the state anew carries a log density to which differences were added.

    Attributes:
        step: from what is carried to that, then the numbers named in `info`.
        choices: the program's choices, in the order of the state.
        info: names of the numbers.
        enter: from a state to what is carried; None where what is carried is the state.
        leave: from what is carried to a state; None where it is one.
        states: where a state has more than the choices of the program and their log density, as an estimate in its
            place, or copies: draws a state, weighed so that its measure is what the kernel keeps.
        begin: where a state has copies: from a state of the program to one of the kernel.
        gradient: whether what is carried begins with coordinates without bounds, the log density there, its gradient.
    """

    step: Form
    choices: tuple[Choice, ...]
    info: tuple[str, ...]
    enter: Form | None = None
    leave: Form | None = None
    states: Form | None = None
    begin: Form | None = None
    gradient: bool = False

    @property
    def size(self) -> int:
        """Number of values of the state."""
        return state_size(self.choices)

    @property
    def first(self) -> Form | None:
        """Draws where a chain begins, weighed as `states` is; None where that is a state of the program."""
        return self.states if self.begin is None else None

    @property
    def carried(self) -> int:
        """Number of values that are carried."""
        return len(self.step.outputs) - len(self.info)

    @cached_property
    def form(self) -> Form:
        """One step from a state to a state, then the numbers."""
        if self.enter is None and self.leave is None:
            return self.step
        block, state = Block(), state_inputs(self.choices).flat
        inputs = tuple(v.like() for v in self.step.inputs[: len(self.step.inputs) - self.carried])
        here = self.entered(block, inputs, state)
        after = block.splice(self.step, [*inputs, *here])
        there, numbers = after[: self.carried], after[self.carried :]
        new = self.left(block, inputs, there)
        if self.gradient:  # what stays is not carried there and back
            moved = block.det(_differs, *here, *there, label="moved?")
            new = tuple(block.det(jnp.where, moved, x, y, label="moved?") for x, y in zip(new, state, strict=True))
        return without_dead_code(block.form((*inputs, *state), (*new, *numbers)))

    @property
    def on_states(self) -> KernelForm:
        """The kernel, carrying a state."""
        return self if self.enter is None else KernelForm(self.form, self.choices, self.info, states=self.states)

    def entered(self, block: Block, inputs: Sequence[Var], state: Sequence[Var]) -> tuple[Var, ...]:
        """Append the way from a state to what is carried."""
        return tuple(state) if self.enter is None else block.splice(self.enter, [*inputs, *state])

    def left(self, block: Block, inputs: Sequence[Var], carried: Sequence[Var]) -> tuple[Var, ...]:
        """Append the way from what is carried to a state."""
        return tuple(carried) if self.leave is None else block.splice(self.leave, [*inputs, *carried])


@runtime_checkable
class Kernel(Protocol):
    """A Markov kernel that can be built for a program."""

    @property
    def contract(self) -> Contract:
        """What the kernel claims."""

    def build(self, program: Form) -> KernelForm:
        """Write the kernel for a program."""

    def plan(self, program: Form) -> list[str]:
        """Say in words which site is moved how."""


def finished(form: Form) -> Form:
    """Return the form of a kernel without what nothing reads, what is done twice, and what cancels."""
    return through(form, SIMPLIFIED)


def refuse_nothing_to_move(choices: Sequence[Choice]) -> None:
    """Refuse a program without choices."""
    if not choices:
        raise UnsupportedProgramError("mcmc: the program has no latent site to move.")


def opened(program: Form) -> tuple[tuple[Choice, ...], Block, tuple[Var, ...], State]:
    """Begin to write a kernel: gives the choices of a program, a block, and the inputs and the state to receive.

    Raises: UnsupportedProgramError where there is nothing to move.
    """
    choices = choices_of(program)
    refuse_nothing_to_move(choices)
    return choices, Block(), tuple(v.like() for v in program.inputs), state_inputs(choices)


def state_size(choices: Sequence[Choice]) -> int:
    """Number of values of a state."""
    return len(choices) + sum(c.conditional for c in choices) + 1


def state_inputs(choices: Sequence[Choice]) -> State:
    """Make fresh values for the state that a kernel receives."""
    values = tuple(Var(c.full_shape, c.dtype) for c in choices)
    flags = tuple(Var(c.loops, jnp.dtype(bool)) for c in choices if c.conditional)
    return State(values, flags, Var((), jnp.result_type(float)))


def flag_per_choice(block: Block, choices: Sequence[Choice], flags: Sequence[Var]) -> list[Var]:
    """Give every choice a flag; those outside branches always run."""
    rest = iter(flags)
    return [next(rest) if c.conditional else block.constant(np.ones(c.loops, bool)) for c in choices]


def initial_state(program: Form) -> Form:
    """The Form that draws a state from the prior: outputs are the state's values; inputs the program's."""
    unobserved = without_weights(program)
    block = Block()
    inputs = tuple(v.like() for v in program.inputs)
    values = record(unobserved, ("sample",)).spliced(block, inputs).values
    log_density, flags = scored(block, program, inputs, values)
    return without_dead_code(block.form(inputs, (*values, *flags, log_density)))


@per_form
def scored_anew(program: Form) -> Form:
    """The way back of a kernel that adds differences to the log density: the state, scored by the program."""
    choices = choices_of(program)
    block, inputs, state = Block(), tuple(v.like() for v in program.inputs), state_inputs(choices)
    log_density, _ = scored(block, program, inputs, state.values)
    return without_dead_code(block.form((*inputs, *state.flat), (*state.values, *state.flags, log_density)))


def _differs(*values: jax.Array) -> jax.Array:
    half = len(values) // 2
    return jnp.any(jnp.stack([jnp.any(a != b) for a, b in zip(values[:half], values[half:], strict=True)]))
