"""Population walk: a random walk whose steps have the covariance of the weighted particles.

Law: for any given covariance the kernel keeps the measure of its point, since the step is symmetric in unconstrained
coordinates. The covariance is that of the particles, so estimates are consistent in their number, not unbiased.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful.distributions.law import law_of
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form, Plate, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of

from ...contract import Contract
from ...laws.meaningless import cleaned, meaningless
from ...laws.picks import CoinLaw
from ...registered import stored_as
from ...representations.coordinates import JointStep, Map, map_of
from ...transformers.rejuvenation import Move, density
from ...transformers.temper import OnPath
from ..base.acceptance import acceptance

PREFIX = "~walk"
OPTIMAL = 2.38  # Gelman, Roberts and Gilks (1996): the best scale of a normal target in d dimensions is 2.38 / sqrt(d)
CONSISTENT = Contract(
    "bound",
    target="the measure, as the number of particles grows",
    remarks="invariant for a given covariance; the covariance is that of the particles",
)


@stored_as("population_walk")
@dataclass(frozen=True)
class PopulationWalk:
    """A joint normal step of all choices, scaled by the covariance of the population."""

    scale: float = OPTIMAL
    contract: Contract = CONSISTENT
    keeps_absent = True

    def fit(self, block: Block, on: OnPath, plate: Plate) -> Move:
        """Append the root of the covariance of the particles as they were weighed, and write the step."""
        if on.weighed is None:
            raise LawfulError("population_walk: the population was not weighed yet. Fix: move after Advance.")
        maps = unconstrained(on.tempered.choices)
        values = on.weighed.state[: len(maps)]
        factor = block.det(_Spread(tuple(maps), self.scale), on.weighed.log_weight, *values, label="step covariance")
        return Move(
            _step_form(on, maps, factor), (*on.inputs, on.block, on.power, factor), ("acceptance_rate", "n_nonfinite"),
            carries_parts=True,
        )  # fmt: skip

    def plan(self, program: Form) -> list[str]:
        """Say which site is proposed how."""
        choices = choices_of(program)
        spaces = zip(choices, unconstrained(choices), strict=True)
        names = [f"{c.name} ({type(m.bijector).__name__.removesuffix('Transform').lower()})" for c, m in spaces]
        rule = f"{self.scale:g}^2/d x weighted covariance of the particles"
        return [f"{', '.join(names)}: joint normal step, covariance {rule}"]

    def __repr__(self) -> str:
        """Show the scale, where it is not the usual one."""
        return "population_walk()" if self.scale == OPTIMAL else f"population_walk({self.scale:g})"


def population_walk(scale: float | int = OPTIMAL) -> PopulationWalk:
    """A random walk with covariance scale^2 / d times the weighted covariance of the particles, in d coordinates.

    All choices move together, in unconstrained coordinates. It serves populations on a path, in `tempered_smc` and
    after `temper`; elsewhere there is no population to take the covariance from.

    >>> population_walk()
    population_walk()
    """
    if not isinstance(scale, int | float) or not 0 < scale < math.inf:
        raise LawfulError(f"population_walk: expected a positive number, got {scale!r}.")
    return PopulationWalk(float(scale))


def unconstrained(choices: Sequence[Choice]) -> list[Map]:
    """Map every choice to unconstrained coordinates.

    Raises: UnsupportedProgramError for a choice that is discrete, or that is made in a branch only.
    """
    for choice in choices:
        if not jnp.issubdtype(choice.dtype, jnp.floating) or choice.conditional:
            why = "is made in a branch only" if choice.conditional else "is discrete"
            raise UnsupportedProgramError(
                f"population_walk: site '{choice.name}' ({choice.source}) {why}, so it takes no normal steps. "
                "Fix: give a kernel that moves it, as kernel=kernels.mh() for single-site moves.",
                site=choice.address,
            )
    return [map_of(choice) for choice in choices]


@dataclass(frozen=True)
class _Spread:
    """The root L of scale^2 / d times the weighted covariance: L L^T = that; of its diagonal where it is singular."""

    maps: tuple[Map, ...]
    scale: float

    def __call__(self, log_weight: jax.Array, *values: jax.Array) -> jax.Array:
        """Compute the root."""
        dtype = log_weight.dtype
        columns = [jax.vmap(m.coordinates)(v) for m, v in zip(self.maps, values, strict=True)]
        points = jnp.concatenate(columns, axis=1).astype(dtype)
        d = points.shape[1]
        log_weight, _ = cleaned(log_weight)
        top = jnp.max(log_weight)
        weight = jnp.exp(log_weight - jnp.where(jnp.isfinite(top), top, 0.0))
        alive = (weight > 0)[:, None]
        total = jnp.sum(weight)
        share = (weight / jnp.where(total > 0, total, 1.0))[:, None]
        safe = jnp.where(alive, points, 0.0)  # a dead particle may lie at infinity
        centred = jnp.where(alive, safe - jnp.sum(share * safe, axis=0), 0.0)
        covariance = (share * centred).T @ centred
        spread = jnp.diagonal(covariance)
        rounding = 4 * d * jnp.finfo(dtype).eps
        moves = spread > 0  # in the others, as those of what is absent, no two particles differ: they stay
        root = jnp.linalg.cholesky(covariance + jnp.diag(jnp.where(moves, rounding * spread, 1.0)))
        root = jnp.where(moves[:, None], root, 0.0)
        alone = jnp.diag(jnp.sqrt(spread))
        return (self.scale / math.sqrt(max(d, 1))) * jnp.where(jnp.all(jnp.isfinite(root)), root, alone)


def walk_ratio(power: jax.Array, jacobian: jax.Array, *parts: jax.Array) -> jax.Array:
    """Log ratio of densities in unconstrained coordinates; parts: rest and slope of the proposal, then of the old."""
    there, slope_there, here, slope_here = parts
    return density(power, there, slope_there) - density(power, here, slope_here) + jacobian


def _step_form(on: OnPath, maps: Sequence[Map], factor: Var) -> Form:
    """Write one step: inputs are (the program's, block, power, root), then the state."""
    tempered, block = on.tempered, Block()
    inputs = tuple(v.like() for v in on.inputs)
    at, power, root = on.block.like(), on.power.like(), factor.like()
    values = tuple(Var(c.full_shape, c.dtype) for c in tempered.choices)
    dtype = jnp.result_type(float)
    rest, slope = Var((), dtype), Var((), dtype)
    d = sum(m.size for m in maps)
    law, parameters = law_of(dist.Normal(np.zeros(d, dtype), np.ones((), dtype)))
    noise = block.site((PREFIX, "step"), law, [block.constant(p) for p in parameters])
    *new, jacobian = block.det(JointStep(tuple(maps)), root, noise, *values, label="step")
    new_rest, new_slope = block.splice(tempered.parts(), (*inputs, at, *new))[:2]
    ratio = block.det(walk_ratio, power, jacobian, new_rest, new_slope, rest, slope, label="log ratio")
    probability = block.det(acceptance, ratio, label="acceptance")
    coin = block.site((PREFIX, "accept"), CoinLaw(str(probability.dtype)), (probability,))
    pairs = zip((*new, new_rest, new_slope), (*values, rest, slope), strict=True)
    state = [block.det(jnp.where, coin, there, here, label="accept?") for there, here in pairs]
    broken = block.det(meaningless, ratio, label="no number?")
    return block.form((*inputs, at, power, root, *values, rest, slope), (*state, probability, broken))
