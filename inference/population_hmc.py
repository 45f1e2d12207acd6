"""Population HMC: Hamiltonian moves whose mass is that of the weighted particles.

Law: for given scales the kernel keeps the measure of its point. The scales are those of the particles, so estimates are
consistent in their number, not unbiased.
"""

from __future__ import annotations

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

from .kernels.frame import Frame, frame_of
from .kernels.gradient import Point
from .kernels.hmc import PREFIX, Hamiltonian
from .population_scales import PopulationScales, exchangeable_parts
from .population_walk import CONSISTENT
from .rejuvenation import Move
from .tempering import OnPath

STEP, LEAPFROGS = 0.35, 8


@dataclass(frozen=True)
class PopulationHMC:
    """Leapfrogs of all choices, in units of the standard deviations of the population."""

    step_size: float = STEP
    steps: int = LEAPFROGS
    jitter: float = 0.0
    exchangeable: str | None = None
    contract: Any = CONSISTENT

    def fit(self, block: Block, on: OnPath, plate: Plate) -> Move:
        """Append the scales of the particles as they were weighed, and write the move."""
        if on.weighed is None:
            raise LawfulError("population_hmc: the population was not weighed yet. Fix: move after Advance.")
        target = on.tempered.target()
        frame = frame_of(target, "population_hmc")
        parts = () if self.exchangeable is None else exchangeable_parts(frame, self.exchangeable, "population_hmc")
        rule, state = PopulationScales(parts), on.weighed.state[: len(frame.choices)]
        enter = _enter(on, frame)
        varies = [False] * (len(enter.inputs) - len(state)) + [True] * len(state)
        lifted = lift(enter, plate, varies, carried=[True]).form
        (points,) = block.splice(lifted, (*on.inputs, on.block, on.power, *state))
        extra = [state[number] for number in rule.extra]
        scales = block.det(rule, on.weighed.log_weight, points, *extra, label="scales of the particles")
        return Move(
            _move_form(self, on, target, frame, scales), (*on.inputs, on.block, on.power, scales),
            ("acceptance_rate", "n_nonfinite"), carries_parts=True,
        )  # fmt: skip

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
        return f"population_hmc({self.step_size:g}, {self.steps}{jitter}{alike})"


def population_hmc(
    step_size: float = STEP, n_steps: int = LEAPFROGS, *, jitter: float = 0.0, exchangeable: str | None = None
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
    return PopulationHMC(float(step_size), n_steps, float(jitter), exchangeable)


def _enter(on: OnPath, frame: Frame) -> Form:
    """Write the coordinates of a particle: inputs are (the program's, block, power), then the state."""
    block = Block()
    given = (*(v.like() for v in on.inputs), on.block.like(), on.power.like())
    values = tuple(Var(c.full_shape, c.dtype) for c in frame.choices)
    return block.form((*given, *values), (frame.enter(block, given, values),))


def _move_form(kernel: PopulationHMC, on: OnPath, target: Form, frame: Frame, scales: Var) -> Form:
    """Write one move: inputs are (the program's, block, power, scales), then the state."""
    block, dtype = Block(), jnp.result_type(float)
    inputs, at, power = tuple(v.like() for v in on.inputs), on.block.like(), on.power.like()
    root = scales.like()
    values = tuple(Var(c.full_shape, c.dtype) for c in frame.choices)
    parts = Var((), dtype), Var((), dtype)
    given = (*inputs, at, power)
    vector = frame.enter(block, given, values)
    here = Point(vector, *frame.weigh(block, given, vector))
    step = block.constant(jnp.asarray(kernel.step_size, dtype))
    if kernel.jitter:
        law, parameters = law_of(dist.Uniform(jnp.zeros((), dtype), jnp.ones((), dtype)))
        u = block.site((PREFIX, "length"), law, [block.constant(p) for p in parameters])
        step = block.det(_Shortened(kernel.jitter), step, u, label="length of a step")
    there, numbers = Hamiltonian(kernel.steps).append(block, frame, given, here, step, root)
    *new, _ = frame.leave(block, given, there.vector, there.log_density)
    rest, slope = block.splice(on.tempered.parts(), (*inputs, at, *new))[:2]
    return block.form((*given, root, *values, *parts), (*new, rest, slope, numbers[0], numbers[2]))


@dataclass(frozen=True)
class _Shortened:
    """Shorten a step by up to a share of it."""

    share: float

    def __call__(self, step: jax.Array, u: jax.Array) -> jax.Array:
        """Shorten it."""
        return step * (1.0 - self.share * u.astype(step.dtype))
