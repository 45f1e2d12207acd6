"""Unmasking (tier 0): the program that draws a state group by group has the mass of the state, whatever it draws from.

Law: [[unmask(f, q, schedule)]] = f on random tables, for random schedules, conditionals and masses of partial states,
and with the exact ones, where one site a step has equal weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from ...algorithms.enumerated import enumerate
from ...contract import PRESERVES, Contract
from ...transformers.reweigh.unmask import MASKED, unmask
from ..statistics.report import Report

TOLERANCE = 1e-12
SITES, VALUES = 3, 2


@dataclass(frozen=True)
class Unmasking:
    """How many tables `unmask` is checked on."""

    tables: int = 3

    name: ClassVar[str] = "unmask"
    contract: ClassVar[Contract] = PRESERVES


def unmasking(how: Unmasking, tolerance: float = TOLERANCE) -> Report:
    """Check `unmask` on random tables of three sites of two values, some of their masses 0.

    Args:
        how: how many tables.
        tolerance: largest difference of a mass.
    """
    worst, count = 0.0, 0
    for number in range(how.tables):
        rng = np.random.default_rng(number)
        mass = rng.uniform(size=(VALUES,) * SITES) * (rng.uniform(size=(VALUES,) * SITES) < 0.8)
        mass.flat[0] = 0.5
        for steps in (1, 2, SITES):
            groups = (
                np.arange(steps)[:, None] == np.append(rng.permutation(steps), rng.integers(steps, size=SITES))[:SITES]
            )
            start = np.full(SITES, MASKED)
            if number % 3 == 2:
                start[0], groups[:, 0] = 0, False  # a site that is known
            for guessed in (False, True):
                worst, count = max(worst, _error(mass, groups, start, rng, guessed)), count + 1
    return Report(
        status="passed" if worst <= tolerance else "failed",
        law="[[unmask(f, q, schedule)]] = f",
        level="exact",
        measure_error=worst,
        instances=count,
        worst=("difference of a mass", worst),
    )


def _error(mass: np.ndarray, groups: np.ndarray, start: np.ndarray, rng: np.random.Generator, guessed: bool) -> float:
    """Largest difference of a mass, with conditionals and masses of partial states that are guessed at."""
    probabilities = jnp.asarray(rng.uniform(0.2, 1.0, size=(VALUES + 1,) * SITES + (SITES, VALUES)))
    masses = jnp.asarray(rng.normal(size=(VALUES + 1,) * SITES))
    log_mass = jnp.log(jnp.asarray(mass))
    program = unmask(
        lambda state: log_mass[tuple(state)],
        lambda state: probabilities[tuple(state)],  # -1 finds the last entry, that of masked sites
        groups,
        log_marginal=(lambda state: masses[tuple(state)]) if guessed else None,
        start=start,
    )
    result = enumerate(program)()
    total, found = math.exp(result.log_evidence), result.marginal("return")
    worst = 0.0
    for state in np.ndindex(mass.shape):
        here = bool(np.all((start == MASKED) | (start == np.array(state))))
        worst = max(worst, abs(total * found.get(state, 0.0) - (float(mass[state]) if here else 0.0)))
    return worst
