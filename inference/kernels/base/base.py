"""Base of kernels: Markov kernels on the choices of a program, written as Forms.

Law: pi K = pi, where pi is the program's measure on its choices. A kernel's own randomness (which site, which value,
accept or not) is made of sites, so its transition matrix on a finite program can be enumerated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np

from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.cached import through
from lawful.form.choices import Choice
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
    """A proposal: the new state, and the log of the Hastings ratio."""

    state: State
    log_ratio: Var


@dataclass(frozen=True)
class KernelForm:
    """A kernel built for a program.

    Inputs of the form: the program's, then the state. Outputs: the new state, then the numbers named in `info`.

    Attributes:
        form: the kernel.
        choices: the program's choices, in the order of the state.
        info: names of the numbers.
        incremental: whether the new log density is the old one plus a difference, so that rounding adds up.
        states: where a state ends with an estimate in place of the log density: draws a state, weighed so that its
            measure is what the kernel keeps.
        weighs: whether a step also weighs, by the factors of its form: then only a population can take it.
    """

    form: Form
    choices: tuple[Choice, ...]
    info: tuple[str, ...]
    incremental: bool = False
    states: Form | None = None
    weighs: bool = False

    @property
    def size(self) -> int:
        """Number of values of the state."""
        return state_size(self.choices)


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
