"""Gradient kernels: moves of all coordinates at once along the gradient of the log density.

Law: at given step size and scales the move keeps exp(log density) du, so the kernel keeps the program's measure. What
a warm-up tunes is an input of the kernel, which is fixed when draws begin.

A kernel that is alone in `inference.mcmc`, or repeated there, is entered once: it carries its own coordinates with the
gradient, and is left for the program's values only where a state is kept. As a part of another kernel it is entered at
each step, at the cost of one leapfrog.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful.distributions.law import law_of
from lawful.errors import LawfulError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import choices_of
from lawful.form.liveness import without_dead_code
from lawful.form.operations.device import device_array

from ...contract import Contract
from ...registered import stored_as
from ...representations.coordinates import map_of
from ...representations.kernel_parts import SIGNAL as SIGNAL
from ..base.base import KernelForm, state_inputs
from ..base.frame import Frame, frame_of, refuse_other_size
from .leapfrog import root_of

PREFIX = "~gradient"  # begins the address of what these kernels draw
SETTINGS = 3  # of a kernel that is tuned: its step size, the root of its inverse mass, whether that is known


@dataclass(frozen=True)
class Point:
    """A point of a chain in its own coordinates."""

    vector: Var
    log_density: Var
    gradient: Var

    @property
    def flat(self) -> tuple[Var, Var, Var]:
        """In this order."""
        return self.vector, self.log_density, self.gradient


class Move(Protocol):
    """A move of a point, at a step size and a root of the inverse mass."""

    @property
    def name(self) -> str:
        """Name of the kernel."""

    @property
    def contract(self) -> Contract:
        """What the move claims."""

    @property
    def info(self) -> tuple[str, ...]:
        """Names of the numbers, `acceptance_rate` the first."""

    def append(
        self, block: Block, frame: Frame, inputs: Sequence[Var], point: Point, step: Var, root: Var, scaled: Var
    ) -> tuple[Point, tuple[Var, ...]]:
        """Append the move; gives the new point, and the numbers of `info`.

        `scaled` says whether the root is one for the program: a move may be shorter as long as it is not.
        """

    def words(self) -> str:
        """Say what it does."""


@stored_as("kernels.gradient")
@dataclass(frozen=True, eq=False)
class Gradient:
    """A move with its step size and inverse mass.

    Attributes:
        move: the move.
        step_size: a number, or None for one that a warm-up finds.
        inverse_mass: a variance, (d,) variances or (d, d) covariance; "diagonal" or "dense" where a warm-up finds it,
            or None for "diagonal" if the step size is tuned, else one for every coordinate.
        target: the acceptance rate to tune for.
        slot: where among the program's inputs the settings begin, in a kernel that is tuned.
        seen: is told the size of each frame that the kernel is built on; no move is then written.
    """

    move: Any
    step_size: float | None
    inverse_mass: Any
    target: float
    slot: int | None = None
    seen: Callable[[int], None] | None = None
    keeps_absent = True

    @property
    def contract(self) -> Contract:
        """What the move claims."""
        contract: Contract = self.move.contract
        return contract

    @property
    def tunes_mass(self) -> bool:
        """Whether a warm-up finds the inverse mass."""
        return isinstance(self.inverse_mass, str) or (self.inverse_mass is None and self.step_size is None)

    @property
    def tuned(self) -> bool:
        """Whether a warm-up has anything to find."""
        return self.step_size is None or self.tunes_mass

    @property
    def dense(self) -> bool:
        """Whether the inverse mass is a matrix."""
        if isinstance(self.inverse_mass, str):
            return self.inverse_mass == "dense"
        return self.inverse_mass is not None and np.ndim(self.inverse_mass) == 2

    def root(self, size: int) -> jax.Array:
        """The given root of the inverse mass, or that of one for every coordinate."""
        dtype = jnp.result_type(float)
        if self.inverse_mass is None or isinstance(self.inverse_mass, str):
            return device_array(np.eye(size, dtype=dtype) if self.dense else np.ones(size, dtype))
        given = np.asarray(self.inverse_mass, np.float64)
        if given.ndim == 0:
            given = np.full(size, given)
        if given.shape not in ((size,), (size, size)):
            raise LawfulError(
                f"{self.move.name}: inverse_mass of shape {given.shape} for {size} coordinates. Fix: give ({size},) "
                f"variances or a ({size}, {size}) covariance, in the order of the program."
            )
        return jnp.asarray(root_of(jnp.asarray(given)), dtype)

    def build(self, program: Form) -> KernelForm:
        """Write the way into coordinates with its gradient, the move there, and the way back."""
        frame = frame_of(program, self.move.name)
        if self.seen is not None:
            return self._told(frame, program)
        block, inputs, here = Block(), tuple(v.like() for v in program.inputs), Point(*frame.point())
        there, numbers = self._moved(block, frame, inputs, here)
        step = without_dead_code(block.form((*inputs, *here.flat), (*there.flat, *numbers)))
        info = self.move.info if self.slot is None else (*self.move.info, f"{SIGNAL}{self.slot}")
        return KernelForm(step, frame.choices, info, frame.way_in(program), frame.way_out(program), gradient=True)

    def plan(self, program: Form) -> list[str]:
        """Say how the sites move."""
        frame_of(program, self.move.name)
        return [
            f"{c.name}: {self.move.words()}, {self._settings()} ({map_of(c).space} coordinates)"
            for c in choices_of(program)
        ]

    def _told(self, frame: Frame, program: Form) -> KernelForm:
        """Tell the size of the frame, and write no move."""
        assert self.seen is not None
        self.seen(frame.size)
        block, inputs, state = Block(), tuple(v.like() for v in program.inputs), state_inputs(frame.choices).flat
        return KernelForm(block.form((*inputs, *state), state), frame.choices, ())

    def _moved(self, block: Block, frame: Frame, inputs: Sequence[Var], here: Point) -> tuple[Point, tuple[Var, ...]]:
        """Append the move at its settings, and what a warm-up wants to know."""
        if self.slot is not None:
            step, root, scaled = inputs[self.slot : self.slot + SETTINGS]
            refuse_other_size(self.move.name, root, frame.size)
        elif not self.tuned:
            step = block.constant(np.asarray(self.step_size, jnp.result_type(float)))
            root, scaled = block.constant(self.root(frame.size)), block.constant(np.array(True))
        else:
            raise LawfulError(
                f"{self.move.name}: nothing tunes the step size or the inverse mass here: that is done by the warm-up "
                f"of inference.mcmc. Fix: give numbers, {self.move.name}(step_size=0.1, inverse_mass=variances)."
            )
        present = frame.present(block, inputs)
        if present is not None:
            root = block.det(_among, root, present, label="scales of what is there")
        there, numbers = self.move.append(block, frame, inputs, here, step, root, scaled)
        if self.slot is None:
            return there, numbers
        return there, (*numbers, block.det(_signal, numbers[0], there.vector, label="what a warm-up reads"))

    def _settings(self) -> str:
        step = "tuned step" if self.step_size is None else f"step {self.step_size:g}"
        kind = "dense" if self.dense else "diagonal"
        if self.tunes_mass:
            return f"{step}, tuned {kind} mass"
        return f"{step}, {'unit' if self.inverse_mass is None else f'given {kind}'} mass"

    def __repr__(self) -> str:
        """Show move and settings."""
        return f"{self.move!r} with {self._settings()}"


def _signal(acceptance: jax.Array, vector: jax.Array) -> jax.Array:
    return jnp.concatenate([jnp.ones(1, vector.dtype), acceptance[None].astype(vector.dtype), vector])


def _among(root: jax.Array, present: jax.Array) -> jax.Array:
    """Keep the coordinates of what is absent out of the steps of the others, and still."""
    return root * present if root.ndim == 1 else root * present[:, None] * present


def checked(name: str, step_size: Any, inverse_mass: Any, target: Any) -> None:
    """Check the settings of a gradient kernel."""
    if step_size is not None and (not isinstance(step_size, int | float | np.number) or not 0 < step_size < np.inf):
        raise LawfulError(f"{name}: expected a positive number as step_size, or None to tune it, got {step_size!r}.")
    if not isinstance(target, int | float) or not 0 < target < 1:
        raise LawfulError(f"{name}: expected a target acceptance rate between 0 and 1, got {target!r}.")
    if inverse_mass is None or (isinstance(inverse_mass, str) and inverse_mass in ("diagonal", "dense")):
        return
    if isinstance(inverse_mass, str):
        raise LawfulError(
            f"{name}: inverse_mass: expected 'diagonal', 'dense', a number or an array, got {inverse_mass!r}."
        )
    matrix = np.asarray(inverse_mass, np.float64)
    if matrix.ndim < 2:
        good = bool(np.all(matrix > 0) and np.isfinite(matrix).all())
    else:
        good = matrix.ndim == 2 and np.allclose(matrix, matrix.T) and bool(np.all(np.linalg.eigvalsh(matrix) > 0))
    if not good:
        raise LawfulError(
            f"{name}: inverse_mass: expected positive variances, one or (d,), or a positive definite covariance (d, d)."
        )


def refreshed(block: Block, frame: Frame, inputs: Sequence[Var]) -> Var:
    """Append the draw of a momentum, which is zero for the coordinates of what is absent."""
    dtype = jnp.result_type(float)
    law, parameters = law_of(dist.Normal(np.zeros(frame.size, dtype), np.ones((), dtype)))
    momentum = block.site((PREFIX, "momentum"), law, [block.constant(p) for p in parameters])
    present = frame.present(block, inputs)
    if present is None:
        return momentum
    still: Var = block.det(jnp.multiply, momentum, present, label="momentum of what is there")
    return still
