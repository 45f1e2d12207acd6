"""Base of kernels: Markov kernels on the choices of a program, written as Forms.

Law: pi K = pi, where pi is the program's measure on its choices. A kernel's own randomness (which site, which value,
accept or not) is made of sites, so its transition matrix on a finite program can be enumerated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from lawful.errors import UnsupportedProgramError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of
from lawful.form.liveness import without_dead_code
from lawful.form.pipeline import per_form, through
from lawful.passes.record import record
from lawful.passes.simplify import SIMPLIFIED

from ...contract import Contract
from ...representations.kernel_form import KernelForm, state_inputs, without_weights
from ...representations.kernel_form import Proposed as Proposed
from ...representations.kernel_form import State as State
from ...representations.kernel_form import scored as scored

INVARIANT = Contract("invariant_kernel", target="the program's posterior", reversible=True, parametric=True)


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


def nothing_to_move() -> UnsupportedProgramError:
    """Make the error of a program without choices."""
    return UnsupportedProgramError("mcmc: the program has no latent site to move.")


def opened(program: Form) -> tuple[tuple[Choice, ...], Block, tuple[Var, ...], State]:
    """Begin to write a kernel: gives the choices of a program, a block, and the inputs and the state to receive.

    Raises: UnsupportedProgramError where there is nothing to move.
    """
    choices = choices_of(program)
    if not choices:
        raise nothing_to_move()
    return choices, Block(), tuple(v.like() for v in program.inputs), state_inputs(choices)


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
