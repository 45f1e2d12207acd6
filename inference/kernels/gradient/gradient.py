"""Gradient kernels: moves of all coordinates at once along the gradient of the log density.

Law: at given step size and scales the move keeps exp(log density) du, so the kernel keeps the program's measure. What
a warm-up tunes is an input of the kernel, which is fixed when draws begin.

A kernel that is alone in `inference.mcmc`, or repeated there, is entered once: it carries its own coordinates with the
gradient, and is left for the program's values only where a state is kept. As a part of another kernel it is entered at
each step, at the cost of one leapfrog.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, Protocol

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
from ...representations.kernel_form import SIGNAL as SIGNAL
from ...representations.kernel_form import KernelForm, parts_of, replaced, state_inputs
from ..base.frame import Frame, frame_of, refuse_other_size
from .trajectories import root_of
from .window_adaptation import Tuner

PREFIX = "~gradient"  # begins the address of what these kernels draw


class Point(NamedTuple):
    """A point of a chain in its own coordinates."""

    vector: Var
    log_density: Var
    gradient: Var


class Settings(NamedTuple):
    """What a move is tuned by: a step size, a root of the inverse mass, and whether that is one for the program.

    A move may be shorter as long as it is not.
    """

    step: Var
    root: Var
    scaled: Var


SETTINGS = len(Settings._fields)


class Move(Protocol):
    """A move of a point from a fresh momentum, at its settings."""

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
        self, block: Block, frame: Frame, inputs: Sequence[Var], point: Point, momentum: Var, settings: Settings
    ) -> tuple[Point, tuple[Var, ...]]:
        """Append the move; gives the new point, and the numbers of `info`."""

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
        slot: where among the program's inputs the settings begin, in a kernel that is tuned; where these end there, the
            settings follow them as further inputs of the step.
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
        here = Point(*frame.point())
        if self.seen is not None:
            return self._told(frame, program)
        block, inputs = Block(), tuple(v.like() for v in program.inputs)
        more = self.variables(frame.size) if self.slot == len(inputs) else ()
        settings, present = self._settings(block, frame, (*inputs, *more)), frame.present(block, inputs)
        momentum = refreshed(block, frame.size)
        if present is not None:
            root = block.det(_among, settings.root, present, label="scales of what is there")
            settings = settings._replace(root=root)
            momentum = block.det(jnp.multiply, momentum, present, label="momentum of what is there")
        there, numbers = self.move.append(block, frame, inputs, here, momentum, settings)
        info = self.move.info
        if self.slot is not None:
            numbers = *numbers, block.det(_signal, numbers[0], there.vector, label="what a warm-up reads")
            info = *info, f"{SIGNAL}{self.slot}"
        step = without_dead_code(block.form((*inputs, *more, *here), (*there, *numbers)))
        return KernelForm(step, frame.choices, info, frame.way_in, frame.way_out, gradient=True)

    def plan(self, program: Form) -> list[str]:
        """Say how the sites move."""
        frame_of(program, self.move.name)
        return [
            f"{c.name}: {self.move.words()}, {self._words()} ({map_of(c).space} coordinates)"
            for c in choices_of(program)
        ]

    def _told(self, frame: Frame, program: Form) -> KernelForm:
        """Tell the size of the frame, and write no move."""
        assert self.seen is not None
        self.seen(frame.size)
        block, inputs, state = Block(), tuple(v.like() for v in program.inputs), state_inputs(frame.choices).flat
        return KernelForm(block.form((*inputs, *state), state), frame.choices, ())

    def variables(self, size: int) -> Settings:
        """Make fresh values for the settings in so many coordinates."""
        dtype = jnp.result_type(float)
        return Settings(Var((), dtype), Var((size,) * (2 if self.dense else 1), dtype), Var((), jnp.dtype(bool)))

    def tuner(self, size: int) -> Tuner:
        """Give what tunes the kernel in so many coordinates."""
        return Tuner(size, self.dense, self.target, self.step_size, None if self.tunes_mass else self.root(size))

    def _settings(self, block: Block, frame: Frame, inputs: Sequence[Var]) -> Settings:
        """Give step size and scales: inputs, or those that were given."""
        if self.slot is not None:
            settings = Settings(*inputs[self.slot : self.slot + SETTINGS])
            if settings.root.shape[0] != frame.size:
                refuse_other_size(self.move.name, settings.root, frame.size)
            return settings
        if self.tuned:
            raise LawfulError(
                f"{self.move.name}: nothing tunes the step size or the inverse mass here: that is done by the warm-up "
                f"of inference.mcmc. Fix: give numbers, {self.move.name}(step_size=0.1, inverse_mass=variances)."
            )
        step = np.asarray(self.step_size, jnp.result_type(float))
        return Settings(*map(block.constant, (step, self.root(frame.size), np.array(True))))

    def _words(self) -> str:
        step = "tuned step" if self.step_size is None else f"step {self.step_size:g}"
        kind = "dense" if self.dense else "diagonal"
        if self.tunes_mass:
            return f"{step}, tuned {kind} mass"
        return f"{step}, {'unit' if self.inverse_mass is None else f'given {kind}'} mass"

    def __repr__(self) -> str:
        """Show move and settings."""
        return f"{self.move!r} with {self._words()}"


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


def refreshed(block: Block, size: int) -> Var:
    """Append the draw of a momentum."""
    dtype = jnp.result_type(float)
    law, parameters = law_of(dist.Normal(np.zeros(size, dtype), np.ones((), dtype)))
    momentum: Var = block.site((PREFIX, "momentum"), law, [block.constant(p) for p in parameters])
    return momentum


class Tuned(NamedTuple):
    """A kernel that was built, the tuners of its parts, and whether one of these moves along gradients.

    What a tuner finds are inputs of the step, `SETTINGS` for each, after the program's.
    """

    kernel: KernelForm
    tuners: list[Tuner]
    slopes: bool


def tuned(kernel: Any, program: Form) -> Tuned:
    """Build a kernel with what a warm-up tunes as inputs; ways in and out take those of the program alone."""
    own = len(program.inputs)
    if isinstance(kernel, Gradient) and kernel.tuned:
        built = replace(kernel, slot=own).build(program)
        return Tuned(built, [kernel.tuner(built.step.inputs[own + 1].shape[0])], True)
    leaves = parts_of(kernel, Gradient)
    chosen = {number: leaf for number, leaf in enumerate(leaves) if leaf.tuned}
    if not chosen:
        return Tuned(kernel.build(program), [], bool(leaves))
    # Of a part only what holds it knows the program, and so the sizes: these are seen by building once.
    sizes, count = dict[int, int](), iter(range(len(leaves)))
    replaced(kernel, Gradient, lambda leaf: replace(leaf, seen=partial(sizes.__setitem__, next(count)))).build(program)
    settings = [v for number, leaf in chosen.items() if number in sizes for v in leaf.variables(sizes[number])]
    places = {number: own + SETTINGS * place for place, number in enumerate(n for n in chosen if n in sizes)}
    count = iter(range(len(leaves)))
    slotted = replaced(kernel, Gradient, lambda leaf: replace(leaf, slot=places.get(next(count))))
    built = slotted.build(replace(program, inputs=(*program.inputs, *settings)))
    ways = {name: getattr(built, name) for name in ("enter", "leave", "states", "begin")}
    built = replace(built, **{name: form and _without_settings(form, own, settings) for name, form in ways.items()})
    return Tuned(built, [chosen[number].tuner(sizes[number]) for number in places], True)


def _without_settings(form: Form, own: int, settings: Sequence[Var]) -> Form:
    """Give a way in or out or a draw, which no setting changes, on the inputs of the program alone."""
    block, inputs = Block(), tuple(v.like() for v in form.inputs)
    inputs, state = inputs[:own], inputs[own + len(settings) :]
    none = [block.constant(np.zeros(v.shape, v.dtype)) for v in settings]
    return block.form((*inputs, *state), block.splice(form, [*inputs, *none, *state]))
