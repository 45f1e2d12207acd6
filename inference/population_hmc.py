"""Population HMC: Hamiltonian moves whose mass is that of the weighted particles.

Law: for given scales the kernel keeps the measure of its point. The scales are those of the particles, so estimates are
consistent in their number, not unbiased.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lawful.block import Block
from lawful.errors import LawfulError
from lawful.form import Form, Plate, Var

from .kernels.coordinates import Map, map_of
from .kernels.frame import Frame, frame_of
from .kernels.gradient import Point
from .kernels.hmc import Hamiltonian
from .population_walk import CONSISTENT
from .rejuvenation import Move
from .tempering import OnPath

STEP, LEAPFROGS = 0.35, 8


@dataclass(frozen=True)
class PopulationHMC:
    """Leapfrogs of all choices, in units of the standard deviations of the population."""

    step_size: float = STEP
    steps: int = LEAPFROGS
    contract: Any = CONSISTENT

    def fit(self, block: Block, on: OnPath, plate: Plate) -> Move:
        """Append the scales of the particles as they were weighed, and write the move."""
        if on.weighed is None:
            raise LawfulError("population_hmc: the population was not weighed yet. Fix: move after Advance.")
        target = on.tempered.target()
        frame = frame_of(target, "population_hmc")
        maps = tuple(map_of(c) for c in frame.choices)
        values = on.weighed.state[: len(maps)]
        scales = block.det(_Scales(maps), on.weighed.log_weight, *values, label="scales of the particles")
        return Move(
            _move_form(self, on, target, frame, scales), (*on.inputs, on.block, on.power, scales),
            ("acceptance_rate", "n_nonfinite"), carries_parts=True,
        )  # fmt: skip

    def plan(self, program: Form) -> list[str]:
        """Say which site is proposed how."""
        names = ", ".join(c.name for c in frame_of(program, "population_hmc").choices)
        return [f"{names}: {self.steps} leapfrogs of {self.step_size:g} x the standard deviations of the particles"]

    def __repr__(self) -> str:
        """Show step size and leapfrogs."""
        return f"population_hmc({self.step_size:g}, {self.steps})"


def population_hmc(step_size: float = STEP, n_steps: int = LEAPFROGS) -> PopulationHMC:
    """Hamiltonian moves with the inverse mass of the weighted variances of the particles.

    All choices move together, in unconstrained coordinates. It serves populations on a path, in `tempered_smc` and
    after `temper`; elsewhere there is no population to take the variances from.

    Args:
        step_size: of a leapfrog, in units of the particles' standard deviations.
        n_steps: leapfrogs a move.

    Raises: UnsupportedProgramError, when run on a program with sites that are discrete or run in one arm only.

    Reference: Buchholz, Chopin and Jacob (2021), Adaptive tuning of Hamiltonian Monte Carlo within sequential Monte
    Carlo.

    >>> population_hmc(0.3, 5)
    population_hmc(0.3, 5)
    """
    if not isinstance(step_size, int | float) or not 0 < step_size < float("inf"):
        raise LawfulError(f"population_hmc: expected a positive number as step_size, got {step_size!r}.")
    if not isinstance(n_steps, int) or n_steps < 1:
        raise LawfulError(f"population_hmc: n_steps: expected an integer of 1 or more, got {n_steps!r}.")
    return PopulationHMC(float(step_size), n_steps)


@dataclass(frozen=True)
class _Scales:
    """Weighted standard deviations of the coordinates; a coordinate in which all particles agree has the scale 1."""

    maps: tuple[Map, ...]

    def __call__(self, log_weight: jax.Array, *values: jax.Array) -> jax.Array:
        """Compute them."""
        columns = [jax.vmap(m.coordinates)(v) for m, v in zip(self.maps, values, strict=True)]
        points = jnp.concatenate(columns, axis=1).astype(log_weight.dtype)
        log_weight = jnp.where(jnp.isnan(log_weight), -jnp.inf, log_weight)
        top = jnp.max(log_weight)
        weight = jnp.exp(log_weight - jnp.where(jnp.isfinite(top), top, 0.0))
        total = jnp.sum(weight)
        share = (weight / jnp.where(total > 0, total, 1.0))[:, None]
        safe = jnp.where(share > 0, points, 0.0)  # a dead particle may lie at infinity
        mean = jnp.sum(share * safe, axis=0)
        variance = jnp.sum(share * (safe - mean) ** 2, axis=0)
        return jnp.where(variance > 0, jnp.sqrt(variance), 1.0)


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
    there, numbers = Hamiltonian(kernel.steps).append(block, frame, given, here, step, root)
    *new, _ = frame.leave(block, given, there.vector, there.log_density)
    rest, slope = block.splice(on.tempered.parts(), (*inputs, at, *new))[:2]
    return block.form((*given, root, *values, *parts), (*new, rest, slope, numbers[0], numbers[2]))
