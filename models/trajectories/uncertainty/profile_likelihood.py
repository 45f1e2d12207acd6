"""The profile likelihood: along the shape parameter of a class, and as intervals of any reported parameter.

Law: no profile is below the best -2LL of a search that found the highest; at the estimate it is that value.

Intervals come of climbs on a tether: whatever maximises `l(x) - (c / 2) (h(x) - v)^2` has the highest likelihood of all
points with its own value of h. So climbs that are drawn towards v end on the profile of h exactly, wherever they end,
and an end of the interval is where the profile has dropped by half the quantile of chi-squared with one degree of
freedom.

Source: Venzon and Moolgavkar, A method for computing profile-likelihood-based confidence intervals, Applied Statistics
37 (1988).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from scipy.stats import chi2

from lawful.errors import LawfulError

from ..fitting.fitted import FittedMixture
from ..fitting.objective import Problem, climb_all, climb_tethered
from ..fitting.optimiser import Schedule
from ..model.parameters import Model, free_shape, pack, unpack

__all__ = ["profile_interval", "profiled"]

CLOSE = 1e-4  # of the root of the drop
ROUNDS = 15
HIGHER = 1e-4  # log-likelihood by which a profile may exceed the fit without a word


def profiled(
    free: np.ndarray,
    problem: Problem,
    model: Model,
    k: int,
    shapes: Sequence[float] | np.ndarray,
    penalised: bool = False,
    unit: float = 1.0,
) -> np.ndarray:
    """Hold the shape of a class at each of some values, and climb with all else.

    Args:
        free: where climbs begin (P,).
        problem: what is climbed.
        model: which mixture.
        k: the class, as the free vector counts it.
        shapes: values in standard units (m,).
        penalised: whether the penalty of the problem is added.
        unit: of a shape in the user's units, for messages.

    Returns: log-likelihoods in standard units (m,).

    Raises:
        LawfulError: the curve has no shape parameter, or a value is none that it can have.
    """
    if model.form.shape is None:
        raise LawfulError(
            f"profile: the {model.form.long_name} curve has no shape parameter. Fix: take curve 'EXP', 'JB' or 'BLS'."
        )
    if model.fixed:
        raise LawfulError(f"profile: the {model.form.shape} is fixed. Fix: leave fixed= out of TrajectoryMixture.")
    _check_admissible(np.asarray(shapes), unit, problem, model)
    at = unpack(jnp.asarray(free), model, problem.bounds)
    starts = np.stack([
        pack(at._replace(shape=at.shape.at[k, 0].set(shape)), model, problem.bounds) for shape in shapes
    ])  # fmt: skip
    place = model.places("shape")[k, 0]
    starts[:, place] = free_shape(np.asarray(shapes), model, problem.bounds)  # near a bound, too
    moving = np.ones_like(starts)
    moving[:, place] = 0.0
    schedule = Schedule(jnp.zeros(1), jnp.full(1, 1e-7), 300)
    stage = jnp.zeros(len(starts), int)
    found = climb_all(jnp.asarray(starts), jnp.asarray(moving), stage, schedule, problem, model, penalised)
    return np.asarray(found.value)


def _check_admissible(shapes: np.ndarray, unit: float, problem: Problem, model: Model) -> None:
    low, high = {"EXP": (0.0, np.inf), "JB": (-np.inf, 0.0)}.get(
        model.curve, (float(problem.bounds.low), float(problem.bounds.high))
    )
    slack = 1e-9 * (high - low) if np.isfinite(high - low) else 0.0
    wrong = shapes[~((shapes >= low - slack) & (shapes <= high + slack))]
    if wrong.size or shapes.ndim != 1 or not shapes.size:
        given = f"{wrong[0] * unit:g}" if wrong.size else f"an array of shape {shapes.shape}"
        other = ", or fit with other knot_bounds" if model.curve == "BLS" else ""
        raise LawfulError(
            f"profile: {given} for the {model.form.shape}, expected values (m,) between {low * unit:g} and "
            f"{high * unit:g}. Fix: leave others out{other}."
        )


def profile_interval(fit: FittedMixture, row: int, error: float, level: float = 0.95) -> tuple[float, float]:
    """Give the ends of an interval in which the profile likelihood of a reported parameter stays near its maximum.

    Args:
        fit: the fitted point.
        row: the parameter, as `fit.rows` counts.
        error: its standard error, NaN where that is refused; the first try goes by it.
        level: of confidence; exact in the limit of many persons, away from edges.

    Returns: lower and upper end. Where the likelihood does not drop far enough before an edge of the parameter space,
    as towards a variance of 0, the end is that edge.
    """
    best = float(fit.search.value[fit.search.best])
    estimate = float(fit.values[row])
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
