"""Pictures of curves: of classes with bands and knots, and of persons in the colours of their memberships.

Law: a band stands only where an error does; a knot whose interval was refused is drawn hollow, and the legend says so.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..reading.measured import Measured
from ..uncertainty.bootstrap import Bootstrap
from ..uncertainty.fit_summaries import FitSummaries
from .style import NORMAL_95, axes_or_new, blended, class_colours

__all__ = ["Drawn", "draw_curves", "draw_persons", "over_observed", "plot_curves", "plot_persons"]

SPAGHETTI = 0.55  # opacity


class Drawn(NamedTuple):
    """Curves of K classes at times (m,), their limits (K, m), sizes (K,), and knots with limits (K, 3) or None."""

    times: np.ndarray
    curve: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    sizes: np.ndarray
    knots: np.ndarray | None


def plot_curves(fit: FitSummaries, times: Any = None, bootstrap: Bootstrap | None = None, ax: Any = None) -> Any:
    """Show the curve of each class with its 95 % band, and its knot with its 95 % interval.

    Curves are those where covariates are 0. Wald's bands and intervals are too narrow near a knot, and missing
    where errors were refused; those of the bootstrap are neither.

    Args:
        fit: a fit by maximum likelihood.
        times: where curves are drawn (m,); over the observed times by default.
        bootstrap: of the fit, whose quantiles are taken; else Wald's errors.
        ax: axes of matplotlib; new ones by default.

    Returns: the axes.
    """
    times = over_observed(fit.data) if times is None else np.asarray(times, float)
    curve, lower, upper = np.moveaxis(fit.curves(times, bootstrap=bootstrap), -1, 0)
    drawn = Drawn(times, curve, lower, upper, fit.class_sizes, _knots(fit, bootstrap))
    return draw_curves(drawn, fit.data, bool(fit.model.p_growth or fit.model.p_varying), axes_or_new(ax))


def plot_persons(fit: FitSummaries, most: int = 200, seed: int = 0, ax: Any = None) -> Any:
    """Show what was measured of persons, in colours mixed by the probabilities of their classes, and the curves.

    Args:
        fit: a fit.
        most: number of persons that are drawn, chosen at random.
        seed: of the choice.
        ax: axes of matplotlib; new ones by default.

    Returns: the axes.
    """
    times = over_observed(fit.data)
    return draw_persons(fit.data, fit.predict_proba(), times, fit.mean_curves(times), most, seed, axes_or_new(ax))


def over_observed(data: Measured, count: int = 201) -> np.ndarray:
    """Give times from the first to the last that was observed."""
    t = data.t[np.isfinite(data.t)]
    return np.linspace(t.min(), t.max(), count)


def draw_curves(drawn: Drawn, data: Measured, covariates: bool, ax: Any) -> Any:
    """Draw curves with bands, and knots on them."""
    for k, colour in enumerate(class_colours(len(drawn.curve))):
        ax.fill_between(drawn.times, drawn.lower[k], drawn.upper[k], color=colour, alpha=0.22, linewidth=0)
        note = "" if np.isfinite(drawn.lower[k]).all() else ", no band"
        ax.plot(drawn.times, drawn.curve[k], color=colour, linewidth=2,
                label=f"class {k + 1} ({drawn.sizes[k]:.0%}){note}")  # fmt: skip
    if drawn.knots is not None:
        sure = np.isfinite(drawn.knots).all(axis=1)
        for k, colour in enumerate(class_colours(len(drawn.curve))):
            knot, low, high = drawn.knots[k]
            level = np.interp(knot, drawn.times, drawn.curve[k])
            if sure[k]:
                ax.errorbar(knot, level, xerr=[[knot - low], [high - knot]], fmt="o", color=colour, capsize=4, zorder=5)
            else:
                ax.plot(knot, level, "o", color=colour, markerfacecolor="white", markeredgewidth=1.8, zorder=5)
        if sure.any():
            ax.plot([], [], "o", color="0.3", label="knot, 95 % interval")
        if not sure.all():
            ax.plot([], [], "o", color="0.3", markerfacecolor="white", label="knot on a kink or bound: no interval")
    where = " where covariates are 0" if covariates else ""
    ax.set(xlabel=data.t_name, ylabel=data.y_name, title=f"Curves of classes{where}")
    ax.legend(frameon=False)
    return ax


def draw_persons(data: Measured, w: np.ndarray, times: Any, curves: Any, most: int, seed: int, ax: Any) -> Any:
    """Draw persons (n, J) in the colours of their memberships w (n, K), and curves (K, m) over them."""
    from matplotlib.collections import LineCollection

    colours = class_colours(w.shape[1])
    seen = np.isfinite(data.y)
    chosen = np.random.default_rng(seed).permutation(np.flatnonzero(seen.any(axis=1)))[:most]
    mixed = blended(w[chosen], colours)
    lines = []
    for i in chosen:
        order = np.argsort(data.t[i][seen[i]], kind="stable")
        lines.append(np.stack([data.t[i][seen[i]][order], data.y[i][seen[i]][order]], axis=1))
    ax.add_collection(LineCollection(lines, colors=mixed, linewidths=0.8, alpha=SPAGHETTI))
    alone = [i for i, line in enumerate(lines) if len(line) == 1]
    if alone:
        at = np.stack([lines[i][0] for i in alone])
        ax.scatter(at[:, 0], at[:, 1], c=mixed[alone], s=6, alpha=SPAGHETTI)
    for k, (curve, colour) in enumerate(zip(curves, colours, strict=True), start=1):
        ax.plot(times, curve, color="white", linewidth=5)
        ax.plot(times, curve, color=colour, linewidth=2.5, label=f"class {k}")
    if len(colours) > 1:
        even = blended(np.full((1, len(colours)), 1 / len(colours)), colours)[0]
        ax.plot([], [], color=even, linewidth=2.5, label="may be in any class")
    ax.autoscale_view()
    share = f"{len(chosen)} of {len(data.y)} persons" if len(chosen) < len(data.y) else f"{len(chosen)} persons"
    ax.set(xlabel=data.t_name, ylabel=data.y_name, title=f"{share}, coloured by membership")
    ax.legend(framealpha=0.85, edgecolor="none")
    return ax


def _knots(fit: FitSummaries, bootstrap: Bootstrap | None) -> np.ndarray | None:
    """Give the knot of each class with the limits of its interval (K, 3), NaN where it was refused."""
    if fit.model.curve != "BLS":
        return None
    rows = [i for i, row in enumerate(fit.rows) if row.parameter == "mug"]
    knot = fit.values[rows]
    if bootstrap is not None:
        lower, upper = (ends[rows] for ends in bootstrap.intervals())
    else:
        error = NORMAL_95 * fit.standard_errors.observed[rows]
        lower, upper = knot - error, knot + error
    return np.stack([knot, lower, upper], axis=1)
