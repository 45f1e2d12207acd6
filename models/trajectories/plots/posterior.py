"""Pictures of a posterior: the same as of a fit with credible bands, and those that a fit cannot have.

Law: every picture is made after relabelling, so that classes mean the same in all draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..fitting.fitted import FittedMixture
from ..posterior.posterior_summaries import PosteriorSummaries
from ..posterior.predictive_checks import checked
from .curves import Drawn, draw_curves, draw_persons, over_observed
from .membership import plot_membership
from .shape import plot_shape_posterior
from .style import axes_or_new, new_row

__all__ = ["PosteriorPlots", "plot_checks"]


@dataclass(frozen=True)
class PosteriorPlots:
    """The pictures of one posterior."""

    posterior: PosteriorSummaries

    def curves(self, times: Any = None, ax: Any = None) -> Any:
        """Show the mean curve of each class with its 95 % credible band, and its knot with its interval.

        Args:
            times: where curves are drawn (m,); over the observed times by default.
            ax: axes of matplotlib; new ones by default.
        """
        own = self.posterior
        times = over_observed(own.data) if times is None else np.asarray(times, float)
        found = own.curves(times)
        knots = None
        if own.model.curve == "BLS":
            draws = own.parameters.shape[..., 0].reshape(-1, own.model.n_classes)
            knots = np.quantile(draws, [0.5, 0.025, 0.975], axis=0).T
        sizes = own.sizes.mean(axis=(0, 1))
        drawn = Drawn(times, found[..., 0], found[..., 1], found[..., 2], sizes, knots)
        return draw_curves(drawn, own.data, bool(own.model.p_growth or own.model.p_varying), axes_or_new(ax))

    def persons(self, most: int = 200, seed: int = 0, ax: Any = None) -> Any:
        """Show what was measured of persons, coloured by the posterior means of their memberships."""
        own, times = self.posterior, over_observed(self.posterior.data)
        w, curves = own.predict_proba(), own.curves(times)[..., 0]
        return draw_persons(own.data, w, times, curves, most, seed, axes_or_new(ax))

    def shape(self, ax: Any = None) -> Any:
        """Show the posterior of the shape parameter of each class, with the observed times beneath."""
        own = self.posterior
        name = own.model.form.shape or "shape"
        return plot_shape_posterior(own.parameters.shape[..., 0], own.data.t, (name, own.data.t_name), ax)

    def membership(self, fit: FittedMixture, label: int = 1, ax: Any = None) -> Any:
        """Show memberships at the estimate of a fit against their posterior means, with 95 % intervals.

        Args:
            fit: a fit by maximum likelihood to the same persons, with as many classes.
            label: the class, from 1 in the order of the fit.
            ax: axes of matplotlib; new ones by default.
        """
        low, high = np.moveaxis(self.posterior.class_intervals(), -1, 0)
        return plot_membership(fit.predict_proba(), self.posterior.predict_proba(), low, high, label, ax)

    def checks(self, key: Any = 0, draws: int = 200, axes: Any = None) -> np.ndarray:
        """Show statistics of each wave within the 95 % intervals of data sets drawn from the posterior.

        Args:
            key: a key of `jax.random`, or a seed.
            draws: number of data sets.
            axes: one axes of matplotlib for each statistic; new ones by default.
        """
        return plot_checks(checked(self.posterior, key, draws), axes)


def plot_checks(table: Any, axes: Any = None) -> np.ndarray:
    """Show a table of posterior predictive checks, one picture for each statistic.

    Args:
        table: a frame with columns statistic, place, observed, mean, lower, upper.
        axes: one axes of matplotlib for each statistic; new ones by default.

    Returns: the axes.
    """
    names = list(dict.fromkeys(table["statistic"]))
    axes = new_row(axes, len(names), "plot.checks", height=3.4)
    for ax, name in zip(axes, names, strict=True):
        own = table[table["statistic"] == name]
        at = own["place"].to_numpy()
        ax.fill_between(at, own["lower"], own["upper"], color="#56B4E9", alpha=0.35, linewidth=0, label="drawn, 95 %")
        ax.plot(at, own["mean"], color="#0072B2", linewidth=1)
        ax.plot(at, own["observed"], "k.", markersize=6, label="seen")
        ax.set(xlabel="wave", title=name)
    axes[0].legend(frameon=False)
    return axes
