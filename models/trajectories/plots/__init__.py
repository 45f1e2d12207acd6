"""Plots of a fit, one function each; `fit.plot` binds them to a fit.

Law: a picture shows numbers of the fit and adds none; each gives back its axes, to be titled and saved by the reader.

May import: model, reading, likelihood, fitting, tables, uncertainty, posterior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..uncertainty.fit_summaries import FitSummaries
from .curves import plot_curves, plot_persons
from .gate import plot_gate
from .membership import plot_membership, plot_reliability, reliability
from .posterior import PosteriorPlots, plot_checks
from .residuals import plot_residuals, predictive_check
from .search_and_classes import plot_class_number, plot_starts
from .shape import plot_profile, plot_shape_posterior

__all__ = [
    "Plots",
    "PosteriorPlots",
    "plot_checks",
    "plot_class_number",
    "plot_curves",
    "plot_gate",
    "plot_membership",
    "plot_persons",
    "plot_profile",
    "plot_reliability",
    "plot_residuals",
    "plot_shape_posterior",
    "plot_starts",
    "predictive_check",
    "reliability",
]


@dataclass(frozen=True)
class Plots:
    """The pictures of one fit; arguments are those of the functions of the same names."""

    fit: FitSummaries

    def curves(self, times: Any = None, bootstrap: Any = None, ax: Any = None) -> Any:
        """Show the curve of each class with its band and its knot."""
        return plot_curves(self.fit, times, bootstrap, ax)

    def persons(self, most: int = 200, seed: int = 0, ax: Any = None) -> Any:
        """Show what was measured of persons, coloured by their memberships."""
        return plot_persons(self.fit, most, seed, ax)

    def profile(self, label: int = 1, values: Any = None, ax: Any = None) -> Any:
        """Show the profile of the likelihood along the shape parameter of a class."""
        return plot_profile(self.fit, label, values, ax)

    def gate(self, axes: Any = None) -> np.ndarray:
        """Show odds ratios, and class probabilities along each gate covariate."""
        return plot_gate(self.fit, axes)

    def starts(self, ax: Any = None) -> Any:
        """Show where every start ended."""
        return plot_starts(self.fit, ax)

    def residuals(self, key: Any = None, draws: int = 40, axes: Any = None) -> np.ndarray:
        """Show residuals by class and wave, within bands of data drawn from the fit."""
        return plot_residuals(self.fit, key, draws, axes)
