"""Population HMC: Hamiltonian moves whose mass is that of the weighted particles.

Law: for given scales the kernel keeps the measure of its point. The scales are those of the particles, so estimates are
consistent in their number, not unbiased.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from lawful.block import Block
from lawful.errors import LawfulError
from lawful.form import Form, Plate, Var
from lawful.laws import law_of
from lawful.lift import lift

from .kernels.acceptance import accept
from .kernels.frame import Frame, frame_of
from .kernels.hmc import PREFIX, refreshed
from .kernels.orbit import LARGEST_ERROR
from .population_scales import PopulationScales, exchangeable_parts
from .population_walk import CONSISTENT
from .powers import times
from .rejuvenation import Move
from .tempering import OnPath

STEP, LEAPFROGS = 0.35, 8
TARGET, RATE = 0.75, 2.0  # of the acceptance, and by how much the logarithm of the step follows it
SHORTEST, LONGEST = 0.01, 2.0  # factors of the step


@dataclass(frozen=True)
class PopulationHMC:
    """Leapfrogs of all choices, in units of the standard deviations of the population."""

    step_size: float = STEP
    steps: int = LEAPFROGS
    jitter: float = 0.0
    exchangeable: str | None = None
    adapt: bool = False
    contract: Any = CONSISTENT
    keeps_absent = True

    def fit(self, block: Block, on: OnPath, plate: Plate) -> Move:
        """Append the scales of the particles as they were weighed, and write the move."""
        if on.weighed is None:
            raise LawfulError("population_hmc: the population was not weighed yet. Fix: move after Advance.")
        frame = frame_of(on.tempered.target(), "population_hmc")
        parts = () if self.exchangeable is None else exchangeable_parts(frame, self.exchangeable, "population_hmc")
        rule, state = PopulationScales(parts), on.weighed.state[: len(frame.choices)]
        enter = _enter(on, frame)
        varies = [False] * (len(enter.inputs) - len(state)) + [True] * len(state)
        lifted = lift(enter, plate, varies, carried=[True]).form
        (points,) = block.splice(lifted, (*on.inputs, on.block, on.power, *state))
        extra = [state[number] for number in rule.extra]
        scales = block.det(rule, on.weighed.log_weight, points, *extra, label="scales of the particles")
        learns = self.adapt and on.memory is not None
        memory = on.memory if learns else block.constant(jnp.zeros((), on.power.dtype))
        shared = (*on.inputs, on.block, on.power, memory, scales)
        learn = self.learned if self.adapt else None
        info = ("acceptance_rate", "n_nonfinite")
        return Move(_move_form(self, on, frame, shared), shared, info, carries_parts=True, learn=learn)

    def learned(self, memory: jax.Array, acceptance: jax.Array) -> jax.Array:
        """Give the logarithm of the factor of the step for the next stage, from the mean acceptance in this one."""
        change = RATE * (jnp.where(jnp.isfinite(acceptance), acceptance, 0.0) - TARGET)
        return jnp.clip(memory + change.astype(memory.dtype), jnp.log(SHORTEST), jnp.log(LONGEST))

    def plan(self, program: Form) -> list[str]:
        """Say which site is proposed how."""
        names = ", ".join(c.name for c in frame_of(program, "population_hmc").choices)
        alike = "" if self.exchangeable is None else f", elements of '{self.exchangeable}' alike"
        return [
            f"{names}: {self.steps} leapfrogs of {self.step_size:g} x the standard deviations of the particles{alike}"
        ]

    def __repr__(self) -> str:
        """Show step size and leapfrogs."""
        jitter = f", jitter={self.jitter:g}" if self.jitter else ""
        alike = "" if self.exchangeable is None else f", exchangeable={self.exchangeable!r}"
        adapt = ", adapt=True" if self.adapt else ""
        return f"population_hmc({self.step_size:g}, {self.steps}{jitter}{alike}{adapt})"


def population_hmc(
    step_size: float = STEP,
    n_steps: int = LEAPFROGS,
    *,
    jitter: float = 0.0,
    exchangeable: str | None = None,
    adapt: bool = False,
) -> PopulationHMC:
    """Hamiltonian moves with the inverse mass of the weighted variances of the particles.

    All choices move together, in unconstrained coordinates. It serves populations on a path, in `tempered_smc` and
    after `temper`; elsewhere there is no population to take the variances from.

    Args:
        step_size: of a leapfrog, in units of the particles' standard deviations.
        n_steps: leapfrogs a move.
        jitter: share of the step by which it is shortened at random in each move, from 0 to 1; trajectories of one
            length can return to where they began.
        exchangeable: name of a plate whose elements may change names, as the classes of a mixture. Such a posterior
            has a mode for each naming; scales are then those within one (see `population_scales`). Sites that sum to
            zero over the elements count as well.
        adapt: whether the step follows the acceptance from stage to stage, towards 0.75.

    Raises: UnsupportedProgramError, when run on a program with sites that are discrete or run in one arm only.

    Reference: Buchholz, Chopin and Jacob (2021), Adaptive tuning of Hamiltonian Monte Carlo within sequential Monte
    Carlo.

    >>> population_hmc(0.3, 5), population_hmc(exchangeable="class")
    (population_hmc(0.3, 5), population_hmc(0.35, 8, exchangeable='class'))
    """
    if not isinstance(step_size, int | float) or not 0 < step_size < float("inf"):
        raise LawfulError(f"population_hmc: expected a positive number as step_size, got {step_size!r}.")
    if not isinstance(n_steps, int) or n_steps < 1:
        raise LawfulError(f"population_hmc: n_steps: expected an integer of 1 or more, got {n_steps!r}.")
    if not isinstance(jitter, int | float) or not 0 <= jitter < 1:
        raise LawfulError(f"population_hmc: jitter: expected a share of the step, from 0 to below 1, got {jitter!r}.")
    return PopulationHMC(float(step_size), n_steps, float(jitter), exchangeable, adapt)


def _enter(on: OnPath, frame: Frame) -> Form:
    """Write the coordinates of a particle: inputs are (the program's, block, power), then the state."""
    block = Block()
    given = (*(v.like() for v in on.inputs), on.block.like(), on.power.like())
    values = tuple(Var(c.full_shape, c.dtype) for c in frame.choices)
    return block.form((*given, *values), (frame.enter(block, given, values),))


def _move_form(kernel: PopulationHMC, on: OnPath, frame: Frame, shared: Sequence[Var]) -> Form:
    """Write one move: inputs are the shared values (the program's, block, power, memory, scales), then the state."""
    block, dtype = Block(), jnp.result_type(float)
    *given, memory, root = (v.like() for v in shared)
    values = tuple(Var(c.full_shape, c.dtype) for c in frame.choices)
    parts = Var((), dtype), Var((), dtype)
    vector = frame.enter(block, given, values)
    law, parameters = law_of(dist.Uniform(jnp.zeros((), dtype), jnp.ones((), dtype)))
    u = block.site((PREFIX, "length"), law, [block.constant(p) for p in parameters])
    step = block.det(_Length(kernel.step_size, kernel.jitter), memory, u, label="length of a step")
    momentum = refreshed(block, frame, given)
    flow = _Flow(frame, len(given), kernel.steps)
    there, value, slope, ratio, lost = block.det(
        flow, *given, vector, momentum, step, root, label=f"{kernel.steps} leapfrogs"
    )
    probability, coin, broken = accept(block, ratio)
    broken = block.det(jnp.greater, broken, lost, label="not a number?")
    *new, density = frame.leave(block, given, there, value)
    rest = block.det(_rest, density, given[-1], slope, label="rest")
    pairs = zip((*new, rest, slope), (*values, *parts), strict=True)
    state = [block.det(jnp.where, coin, a, b, label="accept?") for a, b in pairs]
    return block.form((*given, memory, root, *values, *parts), (*state, probability, broken))


@dataclass(frozen=True)
class _Length:
    """The length of a step: what was learned, shortened by up to a share at random."""

    step_size: float
    jitter: float

    def __call__(self, memory: jax.Array, u: jax.Array) -> jax.Array:
        """Give it."""
        return self.step_size * jnp.exp(memory) * (1.0 - self.jitter * u.astype(memory.dtype))


@dataclass(frozen=True, eq=False)
class _Flow:
    """Leapfrogs from a point whose gradient is not known yet, so that the density stands in the program once.

    Operands: the program's inputs, block and power; the point, the momentum, the step and the scales. A log density is
    linear in the power, and its derivative by it the slope, which comes with the gradient.
    """

    frame: Frame
    inputs: int
    steps: int

    def __call__(self, *operands: jax.Array) -> tuple[jax.Array, ...]:
        """Give the end, log density and slope there, the log ratio, and whether the integrator lost its way."""
        given, (start, momentum, step, root) = operands[: self.inputs], operands[self.inputs :]

        def density(point: jax.Array, power: jax.Array) -> jax.Array:
            return self.frame.log_density((*given[:-1], power), point)

        def leap(number: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            point, momentum, first, least, value, slope = carry
            point = point + jnp.where(number == 0, 0.0, step) * root * momentum
            value, (by, slope) = jax.value_and_grad(density, argnums=(0, 1))(point, given[-1])
            half = (number == 0) | (number == self.steps)
            momentum = momentum + jnp.where(half, 0.5, 1.0) * step * root * by
            first = jnp.where(number == 0, value, first)
            return point, momentum, first, jnp.fmin(least, value), value, slope

        zero = jnp.zeros((), start.dtype)
        nowhere = (zero, jnp.full_like(zero, jnp.inf), zero, jnp.zeros_like(given[-1]))
        carry = jax.lax.fori_loop(0, self.steps + 1, leap, (start, momentum, *nowhere))
        there, after, first, least, value, slope = carry
        here = 0.5 * jnp.vdot(momentum, momentum) - first
        end = 0.5 * jnp.vdot(after, after) - value
        lost = (-least - here > LARGEST_ERROR) | (end - here > LARGEST_ERROR) | ~jnp.all(jnp.isfinite(after))
        return there, value, slope, here - end, lost


def _rest(density: jax.Array, power: jax.Array, slope: jax.Array) -> jax.Array:
    """What a log density has beside its slope."""
    return density - times(power, slope)
