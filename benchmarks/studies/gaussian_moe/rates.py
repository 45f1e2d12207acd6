"""Studies of rates: data from a truth at growing sizes, fits that start near it, and how their errors fall.

Law: a replication is a function of the key, n and its number alone (`replications`), whatever else is run. Errors are
told by medians: powers of errors have heavy tails, and a mean would tell of failed fits alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.studies.gaussian_moe.replications import measured
from lawful.models.gaussian_moe.density import Mixture
from lawful.models.gaussian_moe.estimator import GaussianMoE
from lawful.models.gaussian_moe.fitting import Settings
from lawful.models.pictures import axes_or_new

__all__ = ["Rates", "rate_study", "slope_of"]

SIZES = (100, 316, 1000, 3162, 10_000, 31_623, 100_000)


@dataclass(frozen=True, eq=False)
class Rates:
    """What a study found.

    Attributes:
        frame: a pandas frame with one row for each n and replication, and one column for each error.
    """

    frame: Any

    def medians(self) -> Any:
        """Give the medians of all errors, by n."""
        return self.frame.drop(columns="replication").groupby("n").median()

    def slope(self, column: str, least: int = 0) -> float:
        """Give the slope of log median error in log n, over sizes from `least` on."""
        return slope_of(self.frame, column, least)

    def plot(self, columns: Sequence[str] = ("loss", "hellinger"), ax: Any = None) -> Any:
        """Show medians and quartiles of errors against n, both on log scales, with slopes.

        Args:
            columns: which errors.
            ax: axes of matplotlib; new ones by default.

        Returns: the axes.
        """
        ax = axes_or_new(ax)
        for column in columns:
            quartiles = self.frame.groupby("n")[column].quantile([0.25, 0.5, 0.75]).unstack()
            low, middle, high = (quartiles[q].to_numpy() for q in (0.25, 0.5, 0.75))
            n = quartiles.index.to_numpy()
            slope = self.slope(column)
            label = f"{column}: {slope:+.2f}" if np.isfinite(slope) else f"{column}: none"
            ax.errorbar(n, middle, [middle - low, high - middle], fmt="o-", capsize=3, label=label)
        ax.set(xscale="log", yscale="log", xlabel="n", ylabel="median error, quartiles")
        ax.legend(title="slope", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)  # beside the curves
        return ax


def slope_of(frame: Any, column: str, least: int = 0) -> float:
    """Give the least squares slope of log median error in log n; NaN for fewer than two sizes.

    >>> import pandas
    >>> round(slope_of(pandas.DataFrame({"n": [1, 1, 100, 100], "e": [1.0, 1.0, 0.1, 0.1]}), "e"), 6)
    -0.5
    """
    median = frame[frame["n"] >= least].groupby("n")[column].median()
    if len(median) < 2:
        return float("nan")
    n = np.log(median.index.to_numpy(float))
    with np.errstate(divide="ignore", invalid="ignore"):  # an error that is exactly 0 has no slope
        return float(np.cov(n, np.log(median.to_numpy()), ddof=0)[0, 1] / n.var())


def rate_study(
    key: Any,
    truth: Mixture,
    model: GaussianMoE,
    sizes: Sequence[int] = SIZES,
    replications: int = 40,
    *,
    order: Sequence[int] | None = None,
    starts: int = 1,
    spread: float | None = None,
    anywhere: bool = False,
    settings: Settings = Settings(),
) -> Rates:
    """Fit a model to data from the truth, x uniform on [0, 1], and measure how far off it is.

    Args:
        key: of JAX, or a number; n and the number of the replication are folded in.
        truth: of one covariate.
        model: what is fitted.
        sizes: numbers of rows.
        replications: of each size.
        order: the true expert near which each fitted one starts; by default as they are, and the last ones split first.
        starts: of each fit, the best of which is kept.
        spread: standard deviation of relative noise in the gate of a start, instead of starts near the truth.
        anywhere: whether starts are random, whatever the truth; then "reached" says how good they are.
        settings: how long to look.

    Returns: all errors; "loss" is the Voronoi loss, D1 for as many experts as the truth has and D2 for more, and
        "reached" the share of starts within 0.01 of the largest log likelihood found, also from one near the truth.

    >>> from lawful.models.gaussian_moe.gates import Gate
    >>> from lawful.models.gaussian_moe.parameters import Parameters
    >>> told = Parameters.of([25.0, 0.0], [-8.0, 0.0], [-20.0, 20.0], [15.0, -5.0], [0.09, 0.16])
    >>> found = rate_study(0, Mixture(Gate("topk", top_k=1), told), GaussianMoE(2, "topk", top_k=1), [50, 500], 5)
    >>> found.frame.shape[0], found.slope("unit_loss") < 0
    (10, True)
    """
    import pandas

    how: dict[str, Any] = dict(order=order, starts=starts, spread=spread, anywhere=anywhere, settings=settings)
    rows = [row for n in sizes for row in measured(key, truth, model, n, range(replications), **how)]
    return Rates(pandas.DataFrame(rows))
