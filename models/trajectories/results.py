"""Results: a fit and a posterior as users get them, with their pictures, their pages and their files.

Law: nothing is computed here; numbers are those of the summaries beneath, on which pictures and tables stand as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .mixture_result import MixtureResult
from .model.scaling import doubly
from .plots import Plots
from .plots.posterior import PosteriorPlots
from .posterior.datatree import tree_of
from .posterior.posterior_summaries import PosteriorSummaries
from .tables.summary_text import headline
from .uncertainty.fit_summaries import FitSummaries

if TYPE_CHECKING:
    import xarray

__all__ = ["TrajectoryFit", "TrajectoryPosterior"]


@dataclass(frozen=True, repr=False)
class TrajectoryFit(FitSummaries):
    """A fitted mixture of trajectories, with the errors of its estimates and the other optima.

    It holds the `model`, the `data`, the `problem` (data in standard units), the `scaling` between the two, the
    `search` with all that it found, whether it was `penalised`, the `order` of classes and the `reference` of odds.
    """

    def __repr__(self) -> str:
        """Tell the fit in a line."""
        return f"<TrajectoryFit: {headline(self)}>"

    @property
    def plot(self) -> Plots:
        """Pictures of the fit: `plot.curves()`, `persons()`, `profile(label)`, `gate()`, `starts()`, `residuals()`."""
        return Plots(self)


@dataclass(frozen=True, repr=False)
class TrajectoryPosterior(PosteriorSummaries):
    """Draws from the posterior of a mixture of trajectories, with summaries.

    It holds the `model`, the `data`, the problem `at` in standard units with its priors, the `scaling` between the two,
    the `result` of the inference, and the `reference` of odds.
    """

    def __repr__(self) -> str:
        """Tell the posterior in a line."""
        k, n = self.model.n_classes, len(self.data.y)
        codes = dict.fromkeys(finding.code for finding in self.reasons if finding.status)
        verdict = "ok" if self.ok else f"NOT OK: {', '.join(codes)}"
        evidence = f"log evidence {self.log_evidence:.2f}, " if np.isfinite(self.log_evidence) else ""
        mixture = f"{self.model.form.long_name}, {k} class{'es' * (k > 1)}, {n} persons"
        return f"<TrajectoryPosterior: {mixture}, {evidence}{verdict}>"

    @property
    def plot(self) -> PosteriorPlots:
        """Pictures: `plot.curves()`, `persons()`, `shape()`, `membership(fit)` and `checks(key)`."""
        return PosteriorPlots(self)

    @doubly
    def to_datatree(self, predictive: int | bool = False, key: Any = 0) -> xarray.DataTree:
        """Convert to a DataTree of ArviZ: draws with renamed classes, log_likelihood by person, statistics, data.

        Odds of the gate are those of the other classes against the reference. Evidence is that of `log_evidence`.

        Args:
            predictive: from how many draws the outcomes are drawn anew, into the group posterior_predictive; True for
                200.
            key: a key of `jax.random`, or a seed, for these.

        Raises: LawfulError where predictive is no number of draws.
        """
        return tree_of(self, predictive, key)


if TYPE_CHECKING:  # that both keep the protocol is read from their types, too
    RESULTS: tuple[type[MixtureResult], ...] = (TrajectoryFit, TrajectoryPosterior)
