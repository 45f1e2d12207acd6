"""Population HMC: Hamiltonian moves in the metric of the weighted particles.

Law: for given scales and a given step the kernel keeps the measure of its point. Both come from the particles, so
estimates are consistent in their number, not unbiased.

In units of the particles a normal target is round, and a trajectory of a quarter of its period, pi/2, forgets where it
began; one of half a period only changes its sign. So trajectories are about that long whatever the step is, which is as
large as the acceptance allows, and each is shortened at random by up to a share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful.distributions.law import law_of
from lawful.errors import LawfulError
from lawful.form import Form, Plate, Var
from lawful.form.builder import Block
from lawful.passes.add_plate import lift

from ...registered import stored_as
from ...representations.tempered_program import times
from ...transformers.rejuvenation import Move
from ...transformers.temper import OnPath
from ..base.acceptance import accept
from ..base.frame import Frame, frame_of
from ..gradient.hmc import PREFIX, refreshed
from ..gradient.orbit import LARGEST_ERROR
from .scales import PopulationRoot, PopulationScales, exchangeable_parts
from .walk import CONSISTENT

LENGTH, JITTER = 1.8, 0.3  # of a trajectory, in units of the particles; the share by which it is shortened at most
MOST = 64  # leapfrogs of a trajectory
DENSE = 128  # coordinates whose covariance is worth a product of matrix and vector for each leapfrog
TARGET, RATE = 0.8, 1.0  # of the acceptance, and by how much the logarithm of the step follows it
SHORTEST, LONGEST = 0.01, 2.0  # factors of the step


@stored_as("population_hmc")
@dataclass(frozen=True)
class PopulationHMC:
    """Leapfrogs of all choices, in units of the population; None: chosen for the program."""

    step_size: float | None = None
    steps: int | None = None
    jitter: float = JITTER
    exchangeable: str | None = None
    adapt: bool = True
    contract: Any = CONSISTENT
    keeps_absent = True

    def fit(self, block: Block, on: OnPath, plate: Plate) -> Move:
        """Append the scales of the particles as they were weighed, and write the move."""
        if on.weighed is None:
            raise LawfulError("population_hmc: the population was not weighed yet. Fix: move after Advance.")
        frame = frame_of(on.tempered.target(), "population_hmc")
        parts = () if self.exchangeable is None else exchangeable_parts(frame, self.exchangeable, "population_hmc")
        state = on.weighed.state[: len(frame.choices)]
        enter = _enter(on, frame)
        varies = [False] * (len(enter.inputs) - len(state)) + [True] * len(state)
        lifted = lift(enter, plate, varies, carried=[True]).form
        (points,) = block.splice(lifted, (*on.inputs, on.block, on.power, *state))
        if _dense(self, frame):
            root = block.det(PopulationRoot(), on.weighed.log_weight, points, label="root of the particles' covariance")
        else:
            rule = PopulationScales(parts)
            extra = [state[number] for number in rule.extra]
            root = block.det(rule, on.weighed.log_weight, points, *extra, label="scales of the particles")
        square = block.det(_squared, root, label="inverse mass")
        learns = self.adapt and on.memory is not None
        memory = on.memory if learns else block.constant(np.zeros((), on.power.dtype))
        shared = (*on.inputs, on.block, on.power, memory, root, square)
        learn = self.learned if self.adapt else None
        info = ("acceptance_rate", "n_nonfinite")
        known = memory if learns else None
        return Move(_move_form(self, on, frame, shared), shared, info, carries_parts=True, memory=known, learn=learn)

    def learned(self, memory: jax.Array, acceptance: jax.Array) -> jax.Array:
        """Give the logarithm of the factor of the step for the next stage, from the mean acceptance in this one."""
        change = RATE * (jnp.where(jnp.isfinite(acceptance), acceptance, 0.0) - TARGET)
        return jnp.clip(memory + change.astype(memory.dtype), jnp.log(SHORTEST), jnp.log(LONGEST))

    def step_of(self, size: int) -> float:
        """Give the step at first in so many coordinates: one that a normal target accepts."""
        return max(size, 1) ** -0.25 if self.step_size is None else self.step_size

    def plan(self, program: Form) -> list[str]:
        """Say which site is proposed how."""
        frame = frame_of(program, "population_hmc")
        names = ", ".join(c.name for c in frame.choices)
        alike = "" if self.exchangeable is None else f", elements of '{self.exchangeable}' alike"
        units = "root of the particles' covariance" if _dense(self, frame) else "standard deviations of the particles"
        step = f"{self.step_of(frame.size):.2g} x the {units}{alike}"
        count = (
            f"trajectories of length {LENGTH:g}, in leapfrogs of"
            if self.steps is None
            else f"{self.steps} leapfrogs of"
        )
        tuned = ", which follows the acceptance from stage to stage" if self.adapt else ""
        return [f"{names}: {count} {step}{tuned}"]

    def __repr__(self) -> str:
        """Show what was chosen for it."""
        given = [f"{number:g}" for number in (self.step_size, self.steps) if number is not None]
        given += [] if self.jitter == JITTER else [f"jitter={self.jitter:g}"]
        given += [] if self.exchangeable is None else [f"exchangeable={self.exchangeable!r}"]
        given += [] if self.adapt == (self.step_size is None) else [f"adapt={self.adapt}"]
        return f"population_hmc({', '.join(given)})"


def population_hmc(
    step_size: float | None = None,
    n_steps: int | None = None,
    *,
    jitter: float = JITTER,
    exchangeable: str | None = None,
    adapt: bool | None = None,
) -> PopulationHMC:
    """Hamiltonian moves whose inverse mass is the weighted covariance of the particles.

    All choices move together, in unconstrained coordinates. It serves populations on a path, in `tempered_smc` and
    after `temper`; elsewhere there is no population to take the covariance from. With more than 128 coordinates, and
    with exchangeable elements, the inverse mass is that of the variances alone.

    Args:
        step_size: of a leapfrog, in units of the particles; None: d^(-1/4) in d coordinates at first.
        n_steps: leapfrogs a move; None: as many as make a trajectory of length 1.8, at most 64.
        jitter: share of the step by which it is shortened at random in each move, from 0 to 1; trajectories of one
            length can return to where they began.
        exchangeable: name of a plate whose elements may change names, as the classes of a mixture. Such a posterior
            has a mode for each naming; scales are then those within one (see `scales`). Sites that sum to
            zero over the elements count as well.
        adapt: whether the step follows the acceptance from stage to stage, towards 0.8; None: where it is not given.

    Raises: UnsupportedProgramError, when run on a program with sites that are discrete or run in one arm only.

    Reference: Buchholz, Chopin and Jacob (2021), Adaptive tuning of Hamiltonian Monte Carlo within sequential Monte
    Carlo.

    >>> population_hmc(), population_hmc(0.3, 5), population_hmc(exchangeable="class")
    (population_hmc(), population_hmc(0.3, 5), population_hmc(exchangeable='class'))
    """
    if step_size is not None and (not isinstance(step_size, int | float) or not 0 < step_size < float("inf")):
        raise LawfulError(f"population_hmc: expected a positive number as step_size, got {step_size!r}.")
    if n_steps is not None and (not isinstance(n_steps, int) or n_steps < 1):
        raise LawfulError(f"population_hmc: n_steps: expected an integer of 1 or more, got {n_steps!r}.")
    if not isinstance(jitter, int | float) or not 0 <= jitter < 1:
        raise LawfulError(f"population_hmc: jitter: expected a share of the step, from 0 to below 1, got {jitter!r}.")
    size = None if step_size is None else float(step_size)
    return PopulationHMC(size, n_steps, float(jitter), exchangeable, step_size is None if adapt is None else adapt)


def _dense(kernel: PopulationHMC, frame: Frame) -> bool:
    return kernel.exchangeable is None and 1 < frame.size <= DENSE


def _squared(root: jax.Array) -> jax.Array:
    return root**2 if root.ndim == 1 else root @ root.T


def _times(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    return matrix * vector if matrix.ndim == 1 else matrix @ vector


def _enter(on: OnPath, frame: Frame) -> Form:
    """Write the coordinates of a particle: inputs are (the program's, block, power), then the state."""
    block = Block()
    given = (*(v.like() for v in on.inputs), on.block.like(), on.power.like())
    values = tuple(Var(c.full_shape, c.dtype) for c in frame.choices)
    return block.form((*given, *values), (frame.enter(block, given, values),))


def _move_form(kernel: PopulationHMC, on: OnPath, frame: Frame, shared: Sequence[Var]) -> Form:
    """Write one move: inputs are shared (the program's, block, power, memory, root, its square), then the state."""
    block, dtype = Block(), jnp.result_type(float)
    *given, memory, root, square = (v.like() for v in shared)
    values = tuple(Var(c.full_shape, c.dtype) for c in frame.choices)
    parts = Var((), dtype), Var((), dtype)
    vector = frame.enter(block, given, values)
    law, parameters = law_of(dist.Uniform(np.zeros((), dtype), np.ones((), dtype)))
    u = block.site((PREFIX, "length"), law, [block.constant(p) for p in parameters])
    step = block.det(_Step(kernel.step_of(frame.size), kernel.jitter), memory, u, label="length of a step")
    count = block.det(_Count(kernel.step_of(frame.size), kernel.steps), memory, label="number of leapfrogs")
    momentum = refreshed(block, frame, given)
    flow = _Flow(frame, len(given), kernel.steps)
    there, value, slope, ratio, lost = block.det(
        flow, *given, count, vector, momentum, step, root, square, label="leapfrogs"
    )
    probability, coin, broken = accept(block, ratio)
    broken = block.det(jnp.greater, broken, lost, label="not a number?")
    *new, density = frame.leave(block, given, there, value)
    rest = block.det(_rest, density, given[-1], slope, label="rest")
    pairs = zip((*new, rest, slope), (*values, *parts), strict=True)
    state = [block.det(jnp.where, coin, a, b, label="accept?") for a, b in pairs]
    return block.form((*given, memory, root, square, *values, *parts), (*state, probability, broken))


@dataclass(frozen=True)
class _Step:
    """The length of a step: what was learned, shortened by up to a share at random."""

    step_size: float
    jitter: float

    def __call__(self, memory: jax.Array, u: jax.Array) -> jax.Array:
        """Give it."""
        return self.step_size * jnp.exp(memory) * (1.0 - self.jitter * u.astype(memory.dtype))


@dataclass(frozen=True)
class _Count:
    """The number of leapfrogs: as given, or so many that the longest trajectory has its length."""

    step_size: float
    steps: int | None

    def __call__(self, memory: jax.Array) -> jax.Array:
        """Give it."""
        if self.steps is not None:
            return jnp.asarray(self.steps, jnp.int32)
        count = jnp.round(LENGTH / (self.step_size * jnp.exp(memory)))
        return jnp.clip(count, 1, MOST).astype(jnp.int32)


@dataclass(frozen=True, eq=False)
class _Flow:
    """Leapfrogs from a point whose gradient is not known yet, so that the density stands in the program once.

    Operands: the program's inputs, block and power; the number of leapfrogs; the point, the momentum in units of the
    root, the step, the root and its square. What is carried is the velocity, root times momentum, so that a leapfrog
    takes one product with the square; the kinetic energy is summed up from what each kick adds. A log density is linear
    in the power, and its derivative by it the slope, which comes with the gradient.
    """

    frame: Frame
    inputs: int
    steps: int | None

    def __call__(self, *operands: jax.Array) -> tuple[jax.Array, ...]:
        """Give the end, log density and slope there, the log ratio, and whether the integrator lost its way."""
        given, (count, start, momentum, step, root, square) = operands[: self.inputs], operands[self.inputs :]
        last = count if self.steps is None else self.steps

        def density(point: jax.Array, power: jax.Array) -> jax.Array:
            return self.frame.log_density((*given[:-1], power), point)

        def leap(number: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            point, velocity, kinetic, first, least, value, slope = carry
            point = point + jnp.where(number == 0, 0.0, step) * velocity
            value, (by, slope) = jax.value_and_grad(density, argnums=(0, 1))(point, given[-1])
            kick = jnp.where((number == 0) | (number == last), 0.5, 1.0) * step
            push = _times(square, by)
            kinetic = kinetic + kick * jnp.vdot(velocity, by) + 0.5 * kick**2 * jnp.vdot(by, push)
            first = jnp.where(number == 0, value, first)
            return point, velocity + kick * push, kinetic, first, jnp.fmin(least, value), value, slope

        zero = jnp.zeros((), start.dtype)
        nowhere = (zero, jnp.full_like(zero, jnp.inf), zero, jnp.zeros_like(given[-1]))
        kinetic = 0.5 * jnp.vdot(momentum, momentum)
        carry = jax.lax.fori_loop(0, last + 1, leap, (start, _times(root, momentum), kinetic, *nowhere))
        there, after, moving, first, least, value, slope = carry
        here, end = kinetic - first, moving - value
        lost = (-least - here > LARGEST_ERROR) | (end - here > LARGEST_ERROR) | ~jnp.all(jnp.isfinite(after))
        return there, value, slope, here - end, lost


def _rest(density: jax.Array, power: jax.Array, slope: jax.Array) -> jax.Array:
    """What a log density has beside its slope."""
    return density - times(power, slope)
