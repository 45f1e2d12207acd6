"""Population HMC: Hamiltonian moves in the metric of the weighted particles.

Law: for given scales and a given step the kernel keeps the measure of its point. Both come from the particles, so
estimates are consistent in their number, not unbiased.

In units of the particles a normal target is round, and a trajectory of a quarter of its period, pi/2, forgets where it
began; one of half a period only changes its sign. So trajectories are about that long whatever the step is, which is as
large as the acceptance allows, and each is shortened at random by up to a share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError
from lawful.form import Form, Plate, Var
from lawful.form.builder import Block
from lawful.passes.add_plate import lift

from ...registered import stored_as
from ...representations.kernel_form import KernelForm
from ...representations.tempered import Point
from ...transformers.fits import Fit
from ..base.frame import Frame, frame_of
from ..gradient.gradient import Gradient
from ..gradient.hmc import Hamiltonian
from .scales import PopulationRoot, PopulationScales, exchangeable_parts, unfitted, weighed
from .walk import CONSISTENT

NAME = "population_hmc"
LENGTH, JITTER = 1.8, 0.3  # of a trajectory, in units of the particles; the share by which it is shortened at most
DENSE = 128  # coordinates whose covariance is worth a product of matrix and vector for each leapfrog
TARGET, RATE = 0.8, 1.0  # of the acceptance, and by how much the logarithm of the step follows it
SHORTEST, LONGEST = 0.01, 2.0  # factors of the step


@stored_as("population_hmc")
@dataclass(frozen=True)
class PopulationHMC:
    """Leapfrogs of all choices, in units of the population; None: chosen for the program.

    `slot` says where step size and scales stand among the program's inputs, once they are fitted.
    """

    step_size: float | None = None
    steps: int | None = None
    jitter: float = JITTER
    exchangeable: str | None = None
    adapt: bool = True
    contract: Any = CONSISTENT
    slot: int | None = None
    keeps_absent = True

    def fit(self, block: Block, on: Point, plate: Plate, slot: int) -> Fit:
        """Append the scales of the particles as they were weighed, and the step in their units."""
        state, log_weight = weighed(on, NAME)
        frame = frame_of(on.tempered.target(), NAME)
        values = state[: len(frame.choices)]
        enter = _enter(on, frame)
        varies = [False] * (len(enter.inputs) - len(values)) + [True] * len(values)
        lifted = lift(enter, plate, varies, carried=[True]).form
        (points,) = block.splice(lifted, (*on.inputs, on.block, on.power, *values))
        if _dense(self, frame):
            root = block.det(PopulationRoot(), log_weight, points, label="root of the particles' covariance")
        else:
            rule = PopulationScales(
                () if self.exchangeable is None else exchangeable_parts(frame, self.exchangeable, NAME)
            )
            root = block.det(rule, log_weight, points, *(state[n] for n in rule.extra), label="scales of the particles")
        follows = Step(self.step_of(frame.size))
        if self.adapt and on.memory is not None:
            step = block.det(follows.given, on.memory, label="step size")
        else:
            step = block.constant(np.asarray(follows.first, root.dtype))
        scaled = block.constant(np.array(True))
        return Fit(replace(self, slot=slot), (step, root, scaled), follows if self.adapt else None)

    def build(self, program: Form) -> KernelForm:
        """Write the move at the fitted settings."""
        return self._gradient.build(program)

    @property
    def _gradient(self) -> Gradient:
        move = Hamiltonian(self.steps, NAME, jitter=self.jitter, length=LENGTH)
        return Gradient(move, None, None, TARGET, unfitted(NAME) if self.slot is None else self.slot)

    def step_of(self, size: int) -> float:
        """Give the step at first in so many coordinates: one that a normal target accepts."""
        return max(size, 1) ** -0.25 if self.step_size is None else self.step_size

    def plan(self, program: Form) -> list[str]:
        """Say which site is proposed how."""
        frame = frame_of(program, NAME)
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


def _enter(on: Point, frame: Frame) -> Form:
    """Write the coordinates of a particle: inputs are (the program's, block, power), then the state."""
    block = Block()
    given = (*(v.like() for v in on.inputs), on.block.like(), on.power.like())
    values = tuple(Var(c.full_shape, c.dtype) for c in frame.choices)
    return block.form((*given, *values), (frame.enter(block, given, values),))


@dataclass(frozen=True)
class Step:
    """A step size that follows the acceptance towards `TARGET`; what is remembered is the logarithm of its factor."""

    first: float

    def given(self, memory: jax.Array) -> jax.Array:
        """Give the step size."""
        return self.first * jnp.exp(memory)

    def learned(self, memory: jax.Array, acceptance: jax.Array) -> jax.Array:
        """Give the logarithm of the factor for the next stage, from the mean acceptance in this one."""
        change = RATE * (jnp.where(jnp.isfinite(acceptance), acceptance, 0.0) - TARGET)
        return jnp.clip(memory + change.astype(memory.dtype), jnp.log(SHORTEST), jnp.log(LONGEST))
