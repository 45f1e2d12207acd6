"""Default move: the kernel of a population that is given none, chosen for the program.

Law: that of the kernel it chooses. A random walk forgets where it began in about as many steps as there are choices, a
flow along gradients in one; of few choices a walk is the cheaper one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lawful.errors import UnsupportedProgramError
from lawful.form import Form, Plate
from lawful.form.builder import Block

from ...contract import Contract
from ...registered import stored_as
from ...representations.tempered import Point
from ...transformers.fits import Fit
from ..base.frame import frame_of
from .hmc import population_hmc
from .walk import CONSISTENT, population_walk

FEW = 10  # coordinates that a walk explores at the price of a flow


@stored_as("population_moves")
@dataclass(frozen=True)
class PopulationMoves:
    """`population_hmc()` for programs of many coordinates with gradients, `population_walk()` for the others."""

    contract: Contract = CONSISTENT
    keeps_absent = True

    def fit(self, block: Block, on: Point, plate: Plate, slot: int) -> Fit:
        """Fit the kernel that is chosen."""
        found: Fit = self.chosen(on.tempered.target()).fit(block, on, plate, slot)
        return found

    def plan(self, program: Form) -> list[str]:
        """Say which site is proposed how."""
        lines: list[str] = self.chosen(program).plan(program)
        return lines

    def chosen(self, program: Form) -> Any:
        """Choose the kernel for a program.

        >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
        >>> normal = lambda n: lawful.trace(lambda: lawful.sample("x", dist.Normal(jnp.zeros(n), 1.0).to_event(1)))
        >>> PopulationMoves().chosen(normal(2)), PopulationMoves().chosen(normal(20))
        (population_walk(), population_hmc())
        """
        try:
            many = frame_of(program, "tempered_smc").size >= FEW
        except UnsupportedProgramError:
            many = False  # the walk says what it cannot move, and what can
        return population_hmc() if many else population_walk()

    def __repr__(self) -> str:
        """Show that it is chosen for the program."""
        return "population_moves()"
