"""Outcomes that a fit predicts, with intervals by the delta method.

Law: an expected outcome is a function of the free vector, so its variance is that of its linear form under the
covariance of the estimates. An interval is NaN where what it is of depends on a parameter whose error was refused.
Where curves and outcomes fall is a normal law in each class, and their mixture over classes; the errors of the means
of the classes widen it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from ..fitting.fitted import FittedMixture
from ..likelihood.expected_outcomes import Expected, expected_outcomes, mixture_interval
from ..model.panels import Panel, panel, taken
from ..model.parameters import Bounds, Model, unpack
from ..model.reports import ordered
from ..model.scaling import Scaling, in_user_units
from ..reading.prediction_grid import Grid
from ..tables.predicted_outcomes import PredictedOutcomes
from .standard_errors import StandardErrors

__all__ = ["predicted_by_fit"]

BLOCK = 1 << 22  # derivatives that are looked at together


def predicted_by_fit(
    fit: FittedMixture, errors: StandardErrors, grid: Grid, level: float, interval: str
) -> PredictedOutcomes:
    """Predict outcomes; see `TrajectoryFit.predict_outcome`.

    Args:
        fit: the fitted point.
        errors: of its estimates.
        grid: whose outcomes, and when.
        level: of the intervals.
        interval: "mean", "curve" or "outcome".
    """
    read, model = grid.read, fit.model
    seen = panel(read.y, read.t, read.gate, read.growth, read.varying)
    block = max(1, BLOCK // (model.size * (model.n_classes + 1) * len(grid.times)))
    width = fit.problem.width * fit.scaling.t_scale
    found = []
    for some in (np.arange(i, min(i + block, len(read.y))) for i in range(0, len(read.y), block)):
        varying = None if grid.varying is None else jnp.asarray(grid.varying[some])
        free, _, bounds, scaling, order, reference = fit.reported_at
        slopes, (told, noise) = _slopes(
            free, taken(seen, some), jnp.asarray(grid.times), varying, model, bounds, scaling, width, order, reference
        )
        error = _errors(np.asarray(slopes), errors)
        found.append(_intervals(told, np.asarray(noise), error, level, interval))
    weights, by_class, marginal = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return PredictedOutcomes(grid.times, np.asarray(read.persons), weights, by_class, marginal)


@partial(jax.jit, static_argnames=("model", "order", "reference"))
def _slopes(
    free: jax.Array, seen: Panel, times: jax.Array, varying: Any, model: Model, bounds: Bounds, scaling: Scaling,
    width: Any, order: tuple[int, ...], reference: int,
) -> tuple[jax.Array, tuple[Expected, jax.Array]]:  # fmt: skip
    """Give derivatives of expected outcomes, those of classes before the mixture (n, K + 1, m, P), and the moments."""

    def told(free: jax.Array) -> tuple[jax.Array, tuple[Expected, jax.Array]]:
        at = ordered(in_user_units(unpack(free, model, bounds), model, scaling), order, reference)
        found = expected_outcomes(at, seen, times, model, width, varying)
        return jnp.concatenate([found.mean, found.marginal[:, None]], axis=1), (found, at.noise)

    return jax.jacfwd(told, has_aux=True)(free)


def _errors(slopes: np.ndarray, errors: StandardErrors) -> np.ndarray:
    """Give standard errors (...) of what has given derivatives (..., P)."""
    variance = np.einsum("...p,pq,...q->...", slopes, errors.of_free, slopes, optimize=True)
    refused = np.any(slopes[..., errors.held] != 0, axis=-1)
    return np.where(refused, np.nan, np.sqrt(np.maximum(variance, 0.0)))


def _intervals(
    told: Expected, noise: np.ndarray, error: np.ndarray, level: float, interval: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give memberships (n, K), and means with intervals by class (n, K, m, 3) and of the mixture (n, m, 3)."""
    weights, mean, variance = map(np.asarray, told)
    away = norm.ppf(0.5 + 0.5 * level)

    def around_mean(middle: np.ndarray, spread: np.ndarray) -> np.ndarray:
        return np.stack([middle, middle - away * spread, middle + away * spread], axis=-1)

    if interval == "mean":
        marginal = np.asarray(told.marginal)
        return weights, around_mean(mean, error[:, :-1]), around_mean(marginal, error[:, -1])
    around = np.sqrt(variance + error[:, :-1] ** 2 + (noise[:, None] if interval == "outcome" else 0.0))
    ends = jnp.asarray([0.5 - 0.5 * level, 0.5 + 0.5 * level])
    mixed = np.array(_mixed(weights[:, None], mean[:, None], around[:, None], ends))
    mixed[np.isnan(around).any(axis=1), 1:] = np.nan
    return weights, around_mean(mean, around), mixed


_mixed = jax.jit(jax.vmap(mixture_interval, in_axes=(0, 0, 0, None)))
