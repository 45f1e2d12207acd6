"""Pictures of a shape parameter: its profile likelihood, and its posterior by class, with the observed times beneath.

Law: a profile is never below the best -2LL of the fit; ticks are observed times, so that a kink is seen where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lawful.errors import LawfulError

from ..uncertainty.fit_summaries import FitSummaries
from .style import GREY, axes_or_new, class_colours, rug

__all__ = ["plot_profile", "plot_shape_posterior"]

CHI_95 = 3.841458820694124  # of one degree of freedom
AROUND = 4.0  # standard errors on each side
FAR = 0.06  # of the range of times, where there is no error


def plot_profile(fit: FitSummaries, label: int = 1, values: Any = None, ax: Any = None) -> Any:
    """Show by how much -2LL rises where the shape parameter of a class is held elsewhere.

    What lies below the dashed line is the 95 % interval of the likelihood. Ticks are observed times: at each of them
    the likelihood of a spline has a kink.

    Args:
        fit: a fit by maximum likelihood.
        label: the class, from 1.
        values: of the shape parameter (m,); by default 25 around the estimate.
        ax: axes of matplotlib; new ones by default.

    Returns: the axes.

    Raises:
        LawfulError: the curve has no shape parameter, or there is no such class.
    """
    place = _place(fit, label)
    estimate, error = float(fit.values[place]), float(fit.standard_errors.observed[place])
    times = np.unique(fit.data.t[np.isfinite(fit.data.t)])
    if values is None:
        reach = AROUND * error if np.isfinite(error) else FAR * np.ptp(times) * (abs(estimate) if _rate(fit) else 1.0)
        values = np.linspace(estimate - reach, estimate + reach, 24)
        values = _inside(values, fit)
    values = np.unique(np.append(np.asarray(values, float), estimate))
    rise = fit.profile(label, values) - (fit.minus2ll_penalised if fit.penalised else fit.minus2ll)
    ax = axes_or_new(ax)
    colour = class_colours(fit.model.n_classes)[label - 1]
    ax.plot(values, rise, color=colour, marker=".", markersize=4)
    ax.plot(estimate, 0.0, "o", color=colour, label=f"estimate {estimate:.4g}")
    ax.axhline(CHI_95, color=GREY, linestyle="--", linewidth=1, label="95 % of the likelihood ratio")
    if fit.model.curve == "BLS":
        near = times[(times >= values[0]) & (times <= values[-1])]
        rug(ax, near, alpha=float(np.clip(60 / max(len(near), 1), 0.15, 0.8)))
    name = f"{fit.model.form.shape} of class {label}"
    ax.set(xlabel=f"{name} ({fit.data.t_name})", ylabel="rise of -2LL", title=f"Profile of the {name}")
    ax.set_ylim(bottom=min(0.0, float(rise.min())) - 0.06 * max(float(rise.max()), CHI_95))
    ax.legend(frameon=False)
    return ax


def plot_shape_posterior(draws: Any, times: Any = (), names: Sequence[str] = ("knot", "time"), ax: Any = None) -> Any:
    """Show the posterior of the shape parameter of each class, after relabelling, with its 95 % interval.

    Args:
        draws: of the shape of each class (..., K).
        times: observed times, whose ticks stand beneath.
        names: of the shape parameter, and of the time.
        ax: axes of matplotlib; new ones by default.

    Returns: the axes.

    >>> plot_shape_posterior(np.linspace(0.0, 1.0, 40).reshape(20, 2), names=("knot", "age")).get_xlabel()
    'knot (age)'
    """
    draws = np.asarray(draws, float)
    draws = draws.reshape(-1, draws.shape[-1])
    ax = axes_or_new(ax)
    edges = np.linspace(draws.min(), draws.max(), 61)
    for k, colour in enumerate(class_colours(draws.shape[1])):
        own = draws[:, k]
        low, middle, high = np.quantile(own, [0.025, 0.5, 0.975])
        told = f"class {k + 1}: {middle:.3g} ({low:.3g}, {high:.3g})"
        heights, *_ = ax.hist(own, edges, density=True, color=colour, alpha=0.45, linewidth=0, label=told)
        ax.errorbar(middle, -0.04 * heights.max(), xerr=[[middle - low], [high - middle]], fmt="o", color=colour,
                    markersize=4, capsize=3)  # fmt: skip
    times = np.unique(np.asarray(times, float))
    near = times[(times >= edges[0]) & (times <= edges[-1])]
    rug(ax, near, alpha=float(np.clip(60 / max(len(near), 1), 0.1, 0.8)))
    ax.set(xlabel=f"{names[0]} ({names[1]})", ylabel="posterior density", title=f"Posterior of the {names[0]}")
    ax.legend(frameon=False)
    return ax


def _place(fit: FitSummaries, label: int) -> int:
    for i, row in enumerate(fit.rows):
        if row.label == label and row.parameter == "mug":
            return i
    what = f"the {fit.model.form.long_name} curve has no shape parameter" if fit.model.form.shape is None else (
        f"class {label} of {fit.model.n_classes}"
    )  # fmt: skip
    raise LawfulError(f"plot.profile: {what}. Fix: take curve 'EXP', 'JB' or 'BLS', and a class from 1.")


def _rate(fit: FitSummaries) -> bool:
    return fit.model.curve != "BLS"


def _inside(values: np.ndarray, fit: FitSummaries) -> np.ndarray:
    """Leave out what a shape parameter cannot be."""
    unit = float(fit.scaling.t_scale)
    if fit.model.curve == "BLS":
        low, high = float(fit.problem.bounds.low) * unit, float(fit.problem.bounds.high) * unit
        return values[(values > low) & (values < high)]
    return values[values > 0] if fit.model.curve == "EXP" else values[values < 0]
