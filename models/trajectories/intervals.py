"""Intervals of the profile likelihood, for any reported parameter: by climbs on a tether.

Law: whatever maximises `l(x) - (c / 2) (h(x) - v)^2` has the highest likelihood of all points with its own value of h.
So climbs that are drawn towards v end on the profile of h exactly, wherever they end, and an end of the interval is
where the profile has dropped by half the quantile of chi-squared with one degree of freedom.

Source: specification section 8.5; Venzon and Moolgavkar, A method for computing profile-likelihood-based confidence
intervals, Applied Statistics 37 (1988).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from scipy.stats import chi2

from .climbing import Schedule
from .engine import climb_tethered

if TYPE_CHECKING:
    from .results import TrajectoryFit

__all__ = ["profile_interval"]

CLOSE = 1e-4  # of the root of the drop
ROUNDS = 15
HIGHER = 1e-4  # log-likelihood by which a profile may exceed the fit without a word


def profile_interval(fit: TrajectoryFit, row: int, level: float = 0.95) -> tuple[float, float]:
    """Give the ends of an interval in which the profile likelihood of a reported parameter stays near its maximum.

    Args:
        fit: a fit.
        row: the parameter, as `fit.rows` counts.
        level: of confidence; exact in the limit of many persons, away from edges.

    Returns: lower and upper end. Where the likelihood does not drop far enough before an edge of the parameter space,
    as towards a variance of 0, the end is that edge.
    """
    best = float(fit.search.value[fit.search.best])
    estimate, error = float(fit.values[row]), float(fit.standard_errors.observed[row])
    if not np.isfinite(error) or error <= 0:
        error = 0.1 * abs(estimate) or 0.1
    wanted = float(np.sqrt(chi2.ppf(level, 1)))
    sides = [_Side(estimate, sign * error, wanted) for sign in (-1.0, 1.0)]
    free = np.stack([fit.free, fit.free])
    schedule = Schedule(jnp.zeros(1), jnp.full(1, 1e-9), 300)
    for _ in range(ROUNDS):
        targets = jnp.asarray([side.target for side in sides])
        found, height = climb_tethered(
            jnp.asarray(free), row, targets, 1.0 / error**2, schedule, fit.problem, fit.model, fit.scaling,
            fit.order, fit.reference, fit.penalised,
        )  # fmt: skip
        drop = best - np.asarray(found.value)
        if drop.min() < -HIGHER:
            warnings.warn(
                f"the profile of {fit.rows[row].parameter} found -2LL {-2 * drop.min():.4f} below that of the fit. "
                "Fix: take more starts.",
                stacklevel=4,
            )
            break
        for side, h, d, at, start in zip(sides, np.asarray(height), drop, np.asarray(found.free), free, strict=True):
            if side.told(float(h), float(np.sqrt(max(2 * d, 0.0)))):
                start[:] = at  # the next climb begins at the end of this one
        if all(side.done for side in sides):
            break
    return sides[0].end, sides[1].end


class _Side:
    """The search for one end: a root of `root of the drop - wanted`, which is nearly linear in the parameter."""

    def __init__(self, estimate: float, error: float, wanted: float) -> None:
        self.estimate, self.error, self.wanted = estimate, error, wanted
        self.inner, self.outer = (estimate, 0.0), (np.inf, np.inf)  # (parameter, root) on both sides of the root
        self.stretch = 1.0  # how far beyond its end a tether pulls, as a share of the way from the estimate
        self.end, self.done = estimate, False
        self._aim(wanted * error)

    def _aim(self, away: float) -> None:
        self.away = away
        self.target = self.estimate + away * (1.0 + self.stretch)

    def told(self, h: float, root: float) -> bool:
        """Take in an end of a climb; whether it was used."""
        if self.done:
            return False
        moved = h - self.estimate
        stuck = abs(h - self.inner[0]) < 1e-7 * abs(self.error) and root < self.wanted
        if moved * self.error > 0:
            self.stretch = max((self.target - h) / moved, 1e-3)
        if root < self.wanted:
            self.inner = (h, root)
        else:
            self.outer = (h, root)
        self.end = h
        self.done = stuck or abs(root - self.wanted) < CLOSE
        if np.isfinite(self.outer[1]):
            (a, low), (b, high) = self.inner, self.outer
            self._aim(a + (b - a) * (self.wanted - low) / (high - low) - self.estimate)
        else:
            self._aim(moved * min(self.wanted / max(root, 1e-12), 2.0) if root > 0 else 2 * self.away)
        return True
