"""Summaries of a fit: estimates with errors, and how sure the search is.

Law: an error, an interval or an edge is told of the point itself, and what else the search found is told beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from lawful import one_key
from lawful.errors import LawfulError

from ..fitting.boundaries import Finding, findings_at
from ..fitting.fitted import FittedMixture
from ..fitting.objective import curvature
from ..model.reports import slopes_of, ties_of
from ..model.scaling import doubly
from ..reading.prediction_grid import grid_of, numbers_in_a_row
from ..reading.settings import check_interval, check_level
from ..tables import frames
from ..tables.predicted_outcomes import PredictedOutcomes
from ..tables.summary_text import told
from .bands import curve_bands
from .bootstrap import Bootstrap, bootstrapped
from .outcome_intervals import predicted_by_fit
from .profile_likelihood import profile_interval, profiled
from .standard_errors import StandardErrors, no_errors, standard_errors

__all__ = ["FitSummaries"]

OF_A_PROGRAM = (
    "the fit is the mode of a program of one's own, and errors, intervals and tests are those of the likelihood. Fix: "
    "draw from the program, as by inference.mcmc, or fit without program=."
)


@dataclass(frozen=True, repr=False)
class FitSummaries(FittedMixture):
    """A fitted mixture of trajectories, with the errors of its estimates and the other optima.

    It holds the `model`, the `data`, the `problem` (data in standard units), the `scaling` between the two, the
    `search` with all that it found, whether it was `penalised`, the `order` of classes and the `reference` of odds.
    """

    def estimates(self, level: float = 0.95) -> Any:
        """A frame of pandas: class, parameter, meaning, estimate, se, se_robust, lower, upper, flag.

        A flag says that an error is "refused", or the parameter "equal" in all classes or "fixed".

        Args:
            level: of confidence; ends are those by the observed information, for variances on the scale of their
                logarithm.
        """
        check_level(level, "estimates")
        errors = self.standard_errors
        return frames.estimates_of(self.rows, self.values, errors.observed, errors.robust, level, self.ties)

    @cached_property
    @doubly
    def ties(self) -> np.ndarray:
        """Of each reported parameter, whether it is "equal" in all classes, "fixed", or "" (R,)."""
        return ties_of(self.rows, self.model, self.problem.bounds, self.scaling, self.reference)

    def to_nlpsem_names(self) -> dict[str, float]:
        """Give the estimates under the names of nlpsem, as c1mueta0, c1mug, c1psi00, c1residuals and beta20."""
        return dict(zip(frames.nlpsem_names_of(self.rows, self.model), self.values.tolist(), strict=True))

    @cached_property
    @doubly
    def standard_errors(self) -> StandardErrors:
        """Errors of the reported parameters, by observed information and by the sandwich."""
        if self.program is not None:
            return no_errors(len(self.rows), len(self.free), OF_A_PROGRAM)
        hessian, scores = curvature(jnp.asarray(self.free), self.problem, self.model, self.penalised)

        gates = len(self.rows) - (self.model.n_classes - 1) * (1 + self.model.p_gate)
        gated = {row: i >= gates for i, row in enumerate(self.rows)}
        slopes = slopes_of(*self.reported_at)
        return standard_errors(
            np.asarray(hessian), np.asarray(scores), np.asarray(slopes), self.rows, self.boundary, gated.__getitem__
        )

    @cached_property
    def boundary(self) -> list[Finding]:
        """Edges and kinks that the estimate lies on."""
        with jax.enable_x64(True):
            return findings_at(self.free, self.problem, self.model, self.order)

    @doubly
    def curves(self, times: Any, level: float = 0.95, bootstrap: Bootstrap | None = None) -> np.ndarray:
        """Give the curve of each class where covariates are 0, with its pointwise interval (K, m, 3).

        Args:
            times: in the user's units (m,).
            level: of confidence.
            bootstrap: replicates, whose quantiles are taken; else the delta method, NaN where errors are refused.

        Returns: the curve, lower and upper end.
        """
        check_level(level, "curves")
        times, given = numbers_in_a_row(times, "curves", "times"), (self.rows, self.values, self.model)
        if bootstrap is not None:
            ends = curve_bands(*given, times, level, replicates=bootstrap.values)
        else:
            ends = curve_bands(*given, times, level, covariance=self.standard_errors.covariance)
        return np.stack([self.mean_curves(times), *ends], axis=-1)

    @doubly
    def predict_outcome(
        self, times: Any, covariates: Any = None, data: Any = None, level: float = 0.95, interval: str = "mean"
    ) -> PredictedOutcomes:
        """Predict outcomes at given times, class by class and with the classes summed out.

        Args:
            times: in the user's units (m,), as those of `data.t`, which count from a person's first time with
                center_time="own_first".
            covariates: values by name, a number or one for each of r settings; of time-varying ones a number, one a
                time (m,), or (r, m), and 0 if left out. A frame with a row a setting will do. None for 0 throughout.
            data: persons, in a frame with the columns of that of the fit, or `fit.data` for those of the fit: their
                outcomes count, too, and what is predicted of a class is the person's own curve in it. None for persons
                of whom covariates alone are known.
            level: of confidence.
            interval: "mean", of what is expected, by the delta method; "curve", where the person's own curve is, which
                growth factors decide; or "outcome", where a new outcome is, its residual included. The latter two add
                the error of the mean of the class, and take class probabilities as known.

        Returns: the outcomes. In the joint variant growth covariates tell of the class, too. A random shape is followed
            to first order. Ends are NaN where they depend on a parameter whose error is refused.

        Raises: LawfulError for times that are no finite numbers, and covariates that the model has not, or lacks.
        """
        check_level(level, "predict_outcome")
        check_interval(interval)
        return predicted_by_fit(
            self, self.standard_errors, grid_of(times, covariates, data, self.data), level, interval
        )

    @doubly
    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Give the interval in which the profile likelihood of a parameter stays near its maximum.

        Args:
            name: in the words of nlpsem, as "c1mug"; one of `to_nlpsem_names()`.
            level: of confidence.

        Raises:
            LawfulError: there is no such parameter.
        """
        check_level(level, "interval")
        self.refuse_program("interval")
        names = frames.nlpsem_names_of(self.rows, self.model)
        if name not in names:
            raise LawfulError(f"interval: no parameter {name!r}. Fix: give one of {', '.join(names)}.")
        row = names.index(name)
        if self.ties[row] == "fixed":
            raise LawfulError(f"interval: {name!r} is fixed, and has no interval. Fix: leave it out.")
        return profile_interval(self, row, float(self.standard_errors.observed[row]), level)

    @doubly
    def profile(self, label: int | str, values: Any) -> np.ndarray:
        """Give -2LL with the shape parameter of a class held (m,), everything else at its best for it.

        Args:
            label: the class, from 1, or its parameter in the words of nlpsem, as "c1mug".
            values: of its shape parameter, in the user's units (m,).

        Raises:
            LawfulError: there is no such class, the curve has no shape, or a value is none that it can have.
        """
        self.refuse_program("profile")
        labels = {name: k for k in range(1, self.model.n_classes + 1) for name in (k, f"c{k}mug")}
        if label not in labels:
            raise LawfulError(f"profile: no class {label!r}. Fix: give one of {', '.join(map(str, labels))}.")
        unit = float(self.scaling.t_scale) ** self.model.form.shape_power
        shapes, k = np.asarray(values, float) / unit, self.order[labels[label] - 1]
        found = profiled(self.free, self.problem, self.model, k, shapes, self.penalised, unit)
        return -2 * (found + self.log_jacobian)

    @doubly
    def bootstrap(self, key: Any, n: int = 200) -> Bootstrap:
        """Draw persons anew n times, fit each time from the estimate, and tell how far estimates move.

        Args:
            key: a key of `jax.random`, or a seed.
            n: number of replicates.

        Raises:
            LawfulError: `n` is no positive number.
        """
        self.refuse_program("bootstrap")
        return bootstrapped(self, one_key(key), n)

    def refuse_program(self, name: str) -> None:
        """Refuse what is asked of a fit by a program of one's own, which only the likelihood could answer.

        Raises: LawfulError.
        """
        if self.program is not None:
            raise LawfulError(f"{name}: {OF_A_PROGRAM}")

    @property
    def starts(self) -> Any:
        """A frame of pandas, one row a start: -2LL with any penalty, and whether it came to rest or is degenerate."""
        return frames.starts_of(self.search, self.log_jacobian)

    @property
    def optima(self) -> Any:
        """A frame of pandas, one row a distinct optimum, the best first.

        Columns: minus2ll, the number of starts and of climbs of polish that reached it, the sizes of its classes, their
        shapes, the smallest eigenvalue of the correlations of each Psi, and whether it is degenerate.
        """
        return frames.optima_of(self)

    def reordered(self, by: Any = "size", reference: int = 1) -> Self:
        """Give the same fit with its classes in another order, and odds told against another class.

        Args:
            by: "size", the largest first; the name of a parameter that each class has, as "mug" or "mueta0", the lowest
                first; or the labels of this fit in the order in which they are to come, as (2, 1).
            reference: the class that odds are told against, from 1 in the new order.

        Raises:
            LawfulError: there is no such parameter or class.
        """
        return replace(self, order=frames.order_of(self, by, reference), reference=reference - 1)

    def optimum(self, place: int) -> Self:
        """Give the fit as it would be told had the search found nothing better than a row of `optima`.

        Args:
            place: the row, 0 being the fit itself.

        Raises:
            LawfulError: there is no such row.
        """
        return replace(self, **frames.ended_at(self.search, place))

    def summary(self) -> str:
        """Tell the fit on a page: criteria, classes, how often the best was found, edges, and the estimates."""
        return told(self, self.optima, self.estimates(), self.standard_errors.refused)
