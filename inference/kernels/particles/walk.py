"""Population walk: a random walk whose steps have the covariance of the weighted particles.

Law: that of a random walk of any given covariance. The covariance is that of the particles, so estimates are consistent
in their number, not unbiased.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form, Plate
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of

from ...contract import Contract
from ...registered import stored_as
from ...representations.coordinates import Map, map_of
from ...representations.kernel_form import KernelForm
from ...representations.tempered import Point
from ...transformers.fits import Fit
from ...transformers.move import Parts
from ..combine.mh import MH
from ..walks.random_walk import RandomWalk
from .scales import PopulationRoot, unfitted, weighed

OPTIMAL = 2.38  # Gelman, Roberts and Gilks (1996): the best scale of a normal target in d dimensions is 2.38 / sqrt(d)
CONSISTENT = Contract(
    "bound",
    target="the measure, as the number of particles grows",
    remarks="invariant for a given covariance; the covariance is that of the particles",
)


@stored_as("population_walk")
@dataclass(frozen=True)
class PopulationWalk:
    """A joint normal step of all choices, scaled by the covariance of the population.

    Attributes:
        scale: of a step, times sqrt(d).
        contract: what it claims.
        slot: where the root of the steps' covariance stands among the program's inputs, once it is fitted.
    """

    scale: float = OPTIMAL
    contract: Contract = CONSISTENT
    slot: int | None = None
    keeps_absent = True

    def fit(self, block: Block, on: Point, plate: Plate, slot: int) -> Fit:
        """Append the root of the covariance of the particles as they were weighed."""
        maps = unconstrained(on.tempered.choices)
        state, log_weight = weighed(on, "population_walk")
        spread = _Spread(tuple(maps), self.scale)
        root = block.det(spread, log_weight, *state[: len(maps)], label="step covariance")
        return Fit(replace(self, slot=slot), (root,))

    def build(self, program: Form) -> KernelForm:
        """Write the step at the fitted covariance."""
        return MH(self._walk).build(program)

    def carrying(self, program: Form, parts: Parts) -> KernelForm | None:
        """Write the step on a state that goes on with the parts of its log density, so that they are computed once."""
        return MH(self._walk).carrying(program, parts)

    def plan(self, program: Form) -> list[str]:
        """Say which site is proposed how."""
        choices = choices_of(program)
        names = [f"{c.name} ({m.space})" for c, m in zip(choices, unconstrained(choices), strict=True)]
        rule = f"{self.scale:g}^2/d x weighted covariance of the particles"
        return [f"{', '.join(names)}: joint normal step, covariance {rule}"]

    @property
    def _walk(self) -> RandomWalk:
        return RandomWalk(1.0, root=unfitted("population_walk") if self.slot is None else self.slot)

    def __repr__(self) -> str:
        """Show the scale, where it is not the usual one."""
        return "population_walk()" if self.scale == OPTIMAL else f"population_walk({self.scale:g})"


def population_walk(scale: float | int = OPTIMAL) -> PopulationWalk:
    """A random walk with covariance scale^2 / d times the weighted covariance of the particles, in d coordinates.

    All choices move together, in unconstrained coordinates. It serves populations on a path, in `tempered_smc` and
    after `temper`, alone or in `cycle`, `mixture`, `repeat` and `barker`; elsewhere there is no population to take the
    covariance from.

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
    """The root L of scale^2 / d times the weighted covariance."""

    maps: tuple[Map, ...]
    scale: float

    def __call__(self, log_weight: jax.Array, *values: jax.Array) -> jax.Array:
        """Compute the root."""
        columns = [jax.vmap(m.coordinates)(v) for m, v in zip(self.maps, values, strict=True)]
        points = jnp.concatenate(columns, axis=1).astype(log_weight.dtype)
        return (self.scale / math.sqrt(max(points.shape[1], 1))) * PopulationRoot()(log_weight, points)
