"""Does the fit draw data like those seen? Residuals from the curve of each class by wave, within predictive bands.

Law: what is seen and what the fit draws are judged by one rule: quantiles of outcomes less the curve, each person
weighted by the membership of the class. Under the model those weights leave the law of a class as it is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from ..fitting.fitted import FittedMixture
from .style import class_colours, new_row

__all__ = ["Checked", "plot_residuals", "predictive_check"]

QUANTILES = (0.1, 0.5, 0.9)
FEW_TIMES = 12  # with so many distinct times or fewer, these are the waves


class Checked(NamedTuple):
    """Quantiles of residuals by class and wave: when (W,), those seen (K, W, 3), and those drawn (draws, K, W, 3)."""

    time: np.ndarray
    seen: np.ndarray
    drawn: np.ndarray


def predictive_check(fit: FittedMixture, key: jax.Array | None = None, draws: int = 40) -> Checked:
    """Compare quantiles (10, 50 and 90 %) of residuals with those of data sets drawn from the fit.

    Args:
        fit: a fit by maximum likelihood.
        key: a key of `jax.random`; a fixed one by default.
        draws: number of data sets.
    """
    key = jax.random.key(0) if key is None else key
    wave, times = waves_of(fit.data.t)
    curve = _curves_at(fit)
    seen = weighted_quantiles(fit.data.y, curve, fit.predict_proba(), wave, len(times))
    found = []
    for each in jax.random.split(key, draws):
        drawn = fit.redrawn(each)
        found.append(weighted_quantiles(drawn.y, curve, fit.predict_proba(drawn), wave, len(times)))
    return Checked(times, seen, np.stack(found))


def plot_residuals(fit: FittedMixture, key: jax.Array | None = None, draws: int = 40, axes: Any = None) -> np.ndarray:
    """Show the quantiles of residuals of each class by wave, within the 95 % bands of data sets drawn from the fit.

    Args:
        fit: a fit by maximum likelihood.
        key: a key of `jax.random`; a fixed one by default.
        draws: number of data sets that make the bands.
        axes: K axes of matplotlib; new ones by default.

    Returns: the axes, one a class.
    """
    told = predictive_check(fit, key, draws)
    axes = new_row(axes, fit.model.n_classes, "plot.residuals", sharey=True)
    low, high = np.nanquantile(told.drawn, [0.025, 0.975], axis=0)
    for k, (ax, colour) in enumerate(zip(axes, class_colours(fit.model.n_classes), strict=True)):
        for q in range(len(QUANTILES)):
            ax.fill_between(told.time, low[k, :, q], high[k, :, q], color=colour, alpha=0.25, linewidth=0,
                            label="drawn from the fit, 95 %" if q == 0 else None)  # fmt: skip
            ax.plot(told.time, told.seen[k, :, q], ".-", color="black", linewidth=0.8, markersize=6,
                    label="seen: 10, 50 and 90 %" if q == 0 else None)  # fmt: skip
        ax.set(xlabel=fit.data.t_name, title=f"class {k + 1}")
    axes[0].set_ylabel(f"{fit.data.y_name} less the curve of the class")
    axes[-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return axes


def waves_of(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the wave of each measurement (n, J), -1 where there is none, and the mean time of each wave (W,)."""
    seen = np.isfinite(t)
    distinct = np.unique(t[seen])
    if len(distinct) <= FEW_TIMES:
        return np.where(seen, np.searchsorted(distinct, np.where(seen, t, distinct[0])), -1), distinct
    wave = np.where(seen, np.arange(t.shape[1]), -1)
    there = seen.any(axis=0)
    wave = np.where(seen, np.cumsum(there)[wave] - 1, -1)
    return wave, np.nanmean(t[:, there], axis=0)


def _curves_at(fit: FittedMixture) -> np.ndarray:
    """Give the curve of each class at the times of persons (K, n, J)."""
    t = np.where(np.isfinite(fit.data.t), fit.data.t, 0.0)
    return fit.mean_curves(t.reshape(-1)).reshape(-1, *t.shape)


def weighted_quantiles(y: Any, curve: Any, memberships: Any, wave: Any, waves: int) -> np.ndarray:
    """Give weighted quantiles of residuals (K, W, 3); NaN for a wave that nobody of a class can be in."""
    found = np.full((len(curve), waves, len(QUANTILES)), np.nan)
    for w in range(waves):
        person, place = np.nonzero((wave == w) & np.isfinite(y))
        for k in range(len(curve)):
            residual, weight = y[person, place] - curve[k, person, place], memberships[person, k]
            order = np.argsort(residual, kind="stable")
            mass = np.cumsum(weight[order])
            if len(mass) and mass[-1] > 0:
                middle = (mass - 0.5 * weight[order]) / mass[-1]
                found[k, w] = np.interp(QUANTILES, middle, residual[order])
    return found
