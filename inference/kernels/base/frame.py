"""Frame: a program in one vector of coordinates without bounds, with the gradient of its log density.

Law: entering and leaving are each other's inverse, and exp(log density) du is the program's measure carried to the
coordinates, Jacobian included. The gradient is that of the log density, by reverse mode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp

from lawful.backends.unchain_loops import UNCHAINED
from lawful.backends.xla import emit
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of
from lawful.form.liveness import without_dead_code
from lawful.form.pipeline import per_form
from lawful.passes.fill_absent import guarded_choices
from lawful.passes.unconstrain import Coordinates, coordinates_of

from ...representations.absent_elements import Presence, presence_of
from ...representations.kernel_form import state_inputs
from .base import nothing_to_move


@dataclass(frozen=True, eq=False)
class Frame:
    """A program in one vector of coordinates.

    Attributes:
        program: the program.
        found: the program in coordinates, choice by choice.
        presence: which elements of the choices are there; None where all of them are.
        choices: in the order of their coordinates.
        shapes: of the coordinates of each choice.
        size: number of coordinates.
    """

    program: Form
    found: Coordinates
    presence: Presence | None
    choices: tuple[Choice, ...]
    shapes: tuple[tuple[int, ...], ...]
    size: int

    @cached_property
    def _run(self) -> Any:
        return emit(self.found.values, UNCHAINED)

    def parts(self, vector: jax.Array) -> tuple[jax.Array, ...]:
        """Split a vector into the coordinates of each choice."""
        found, start = [], 0
        for shape, choice in zip(self.shapes, self.choices, strict=True):
            stop = start + math.prod(shape)
            found.append(vector[start:stop].reshape(shape).astype(choice.dtype))
            start = stop
        return tuple(found)

    def vector(self, *parts: jax.Array) -> jax.Array:
        """Join the coordinates of all choices."""
        return jnp.concatenate([jnp.ravel(x).astype(jnp.result_type(float)) for x in parts])

    def log_density(self, inputs: Sequence[jax.Array], vector: jax.Array) -> jax.Array:
        """Score a vector of coordinates, Jacobian included."""
        return self._run(jax.random.key(0), *inputs, *self.parts(vector))[0][0]

    def value_and_grad(self, inputs: Sequence[jax.Array], vector: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Score a vector of coordinates, and give the gradient."""
        value, gradient = jax.value_and_grad(self.log_density, argnums=1)(tuple(inputs), vector)
        return value, gradient

    def present(self, block: Block, inputs: Sequence[Var]) -> Var | None:
        """Append 1 for each coordinate that moves, 0 for those of absent elements; None where all move."""
        if self.presence is None:
            return None
        return self.presence.vector(block, inputs, self.choices, self.shapes)

    def enter(self, block: Block, inputs: Sequence[Var], values: Sequence[Var]) -> Var:
        """Append the coordinates of given values."""
        parts = block.splice(self.found.free, [*inputs, *values])
        return block.det(self.vector, *parts, label="coordinates")

    def leave(self, block: Block, inputs: Sequence[Var], vector: Var, log_density: Var) -> tuple[Var, ...]:
        """Append the values at given coordinates, then their log density, which has no Jacobian."""
        parts = block.det(self.parts, vector, label="coordinates of each")
        jacobian, *values = block.splice(self.found.jacobian, [*inputs, *parts])
        return (*values, block.det(jnp.subtract, log_density, jacobian, label="log density"))

    def weigh(self, block: Block, inputs: Sequence[Var], vector: Var) -> tuple[Var, Var]:
        """Append log density and gradient at given coordinates."""
        count = len(inputs)
        scored: tuple[Var, Var] = block.det(
            lambda *operands: self.value_and_grad(operands[:count], operands[count]),
            *inputs, vector, label="log density and gradient",
        )  # fmt: skip
        return scored

    def point(self) -> tuple[Var, Var, Var]:
        """Make fresh values for coordinates, log density and gradient."""
        dtype = jnp.result_type(float)
        return Var((self.size,), dtype), Var((), dtype), Var((self.size,), dtype)

    @cached_property
    def way_in(self) -> Form:
        """The way from the inputs of the program and a state to coordinates, log density and gradient."""
        block, inputs, state = Block(), tuple(v.like() for v in self.program.inputs), state_inputs(self.choices)
        vector = self.enter(block, inputs, state.values)
        return without_dead_code(block.form((*inputs, *state.flat), (vector, *self.weigh(block, inputs, vector))))

    @cached_property
    def way_out(self) -> Form:
        """The way from the inputs of the program, coordinates, log density and gradient to a state."""
        block, inputs, point = Block(), tuple(v.like() for v in self.program.inputs), self.point()
        return without_dead_code(block.form((*inputs, *point), self.leave(block, inputs, *point[:2])))


def frame_of(program: Form, name: str) -> Frame:
    """Write a program in one vector of coordinates.

    Args:
        program: the program.
        name: the kernel that asks, for messages.

    Raises: UnsupportedProgramError for a site that is discrete, a point mass, or made in one arm of a branch only.

    >>> import numpyro.distributions as dist, lawful
    >>> frame = frame_of(lawful.trace(lambda: lawful.sample("x", dist.HalfNormal(1.0).expand([3]))), "nuts")
    >>> frame.size, [round(float(x), 4) for x in frame.value_and_grad((), jnp.zeros(3))[1]]
    (3, [0.0, 0.0, 0.0])
    """
    choices = choices_of(program)
    if not choices:
        raise nothing_to_move()
    discrete = [c for c in choices if not jnp.issubdtype(c.dtype, jnp.floating)]
    some = [c for c in choices if c.conditional]
    for bad, what, ways in (
        (discrete, "discrete", "or sum it out, inference.mcmc(model, kernel, enumerate=[...])"),
        (some, "made in one arm of a branch only", "or sample it in every arm"),
    ):
        if bad:
            named = ", ".join(f"'{c.name}' ({c.source})" for c in bad)
            rest = [c.name for c in choices if c not in discrete and c not in some]
            other = ", ".join(repr(c.name) for c in bad)
            raise UnsupportedProgramError(
                f"{name}: site {named} is {what}, so the log density has no gradient there. Fix: move it by another "
                f"kernel, cycle(on({rest}, {name}(...)), on([{other}], gibbs())), {ways}.",
                site=bad[0].address,
            )
    return _written(program)


@per_form
def _written(program: Form) -> Frame:
    presence = presence_of(program) if guarded_choices(program) else None
    found = coordinates_of(program)
    shapes = tuple(v.shape for v in found.values.inputs[len(program.inputs) :])
    return Frame(program, found, presence, found.choices, shapes, sum(map(math.prod, shapes)))


def refuse_other_size(name: str, root: Var, size: int) -> None:
    """Refuse scales that were fitted to other coordinates than those that a kernel moves."""
    if root.shape[0] != size:
        raise LawfulError(
            f"{name}: scales of {root.shape[0]} coordinates for {size}. They are those of all sites of the program. "
            f"Fix: let {name} move all of them, not a part by on(...)."
        )
