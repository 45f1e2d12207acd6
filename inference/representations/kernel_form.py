"""Kernel form: a kernel written for a program, the state that it moves, the density that it keeps, and its parts.

Law: from a state to what a kernel carries and back nothing changes. At any choices the log density is that of the
program; without weights the prior is left. What is composed of the same kernels is the same; a kernel that holds no
other is a part by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp

from lawful.errors import UnsupportedProgramError
from lawful.form import Factor, Form, Node, Site, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice
from lawful.form.liveness import without_dead_code
from lawful.form.rewriting import with_subforms
from lawful.passes.predict import without_weights as without_weights
from lawful.passes.thread_sites import score

SIGNAL = "~tune"  # begins the name of what a kernel tells who tunes it: whether it ran, its acceptance, its coordinates


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


def state_size(choices: Sequence[Choice]) -> int:
    """Number of values of a state."""
    return len(choices) + sum(c.conditional for c in choices) + 1


def state_inputs(choices: Sequence[Choice]) -> State:
    """Make fresh values for the state that a kernel receives."""
    values = tuple(Var(c.full_shape, c.dtype) for c in choices)
    flags = tuple(Var(c.loops, jnp.dtype(bool)) for c in choices if c.conditional)
    return State(values, flags, Var((), jnp.result_type(float)))


def _differs(*values: jax.Array) -> jax.Array:
    half = len(values) // 2
    return jnp.any(jnp.stack([jnp.any(a != b) for a, b in zip(values[:half], values[half:], strict=True)]))


def scored(block: Block, program: Form, inputs: Sequence[Var], values: Sequence[Var]) -> tuple[Var, tuple[Var, ...]]:
    """Append the log density of a program at given choices; returns it with the flags of the conditional choices."""
    parts = score(program).spliced(block, [*inputs, *values])
    log_density = block.det(jnp.add, *parts.sums, label="log density")
    return log_density, parts.flags


def scoped(form: Form, scope: tuple[str, ...]) -> Form:
    """Put a scope before the addresses of a kernel's own sites, so that it can be applied more than once."""
    nodes: list[Node] = []
    for node in form.nodes:
        if isinstance(node, Site):
            nodes.append(replace(node, address=(*scope, *node.address)))
        else:
            nodes.append(with_subforms(node, lambda inner: scoped(inner, scope)))
    return replace(form, nodes=tuple(nodes))


def unweighed(built: Any, where: str) -> Any:
    """Refuse a kernel that weighs what it moves, where nothing has a weight."""
    if any(isinstance(node, Factor) for node in built.step.nodes):
        raise UnsupportedProgramError(
            f"{where}: an smcp3 move keeps the measure by weights, which only particles have. Fix: use it as "
            "smc(model, move=...); for chains, kernels.mh(program) accepts or rejects instead."
        )
    return built


def exact(built: Any, where: str, *, weighs: bool = False) -> Any:
    """Refuse a kernel whose state is more than that of the program, where others move the choices that it belongs to.

    One that weighs is refused too, unless `weighs` says that weights are kept.
    """
    if built.states is not None:
        what = "a pseudo-marginal kernel keeps an estimate"
        other = "beside others, kernels.refresh(keep='all') or kernels.particle_gibbs"
        if built.begin is not None:
            what, other = "a tempering kernel keeps copies", "other kernels go inside it, where they move each copy"
        raise UnsupportedProgramError(
            f"{where}: {what} with its state, which moves by others would leave behind. Fix: use it alone or in "
            f"`repeat`; {other}."
        )
    return built if weighs else unweighed(built, where)


def replaced(kernel: Any, wanted: type[Any], change: Callable[[Any], Any]) -> Any:
    """Change the parts of a kernel that are of a type, from the first to the last.

    >>> from lawful.inference import kernels
    >>> replaced(kernels.repeat(kernels.mh(), 2), type(kernels.mh()), kernels.barker)
    repeat(barker(mh(single_site())), 2)
    """
    if isinstance(kernel, wanted):
        return change(kernel)
    if not is_dataclass(kernel) or isinstance(kernel, type):
        return kernel
    new: dict[str, Any] = {}
    for field in fields(kernel):
        value = getattr(kernel, field.name)
        if field.name == "kernel":
            new[field.name] = replaced(value, wanted, change)
        elif field.name == "kernels":
            new[field.name] = tuple(replaced(part, wanted, change) for part in value)
    return replace(kernel, **new) if new else kernel


def parts_of(kernel: Any, wanted: type[Any]) -> list[Any]:
    """List the parts of a kernel that are of a type."""
    found: list[Any] = []

    def seen(part: Any) -> Any:
        found.append(part)
        return part

    replaced(kernel, wanted, seen)
    return found
