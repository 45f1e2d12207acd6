"""Summaries of a posterior: what survives a change of names of the classes, and classes by name.

Law: every number is a function of the draws as a set: names that draws gave the classes, the order of the draws and of
the chains change nothing. Classes come by decreasing size; all is in the user's units.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np

from lawful.errors import DeadPopulationError, LawfulError
from lawful.inference import Finding, pooled_evidence

from ...latent_classes import co_membership, membership_interval, occupied_classes
from ...latent_classes.invariants import tails
from ..fitting.classified import Classified
from ..model.scaling import doubly
from ..reading.prediction_grid import grid_of
from ..reading.read_frames import read_again
from ..reading.settings import check_interval, check_level
from ..tables.frames import nlpsem_names_of
from ..tables.predicted_outcomes import PredictedOutcomes
from ..tables.summary_text import held_of
from . import predictions
from .draws import NamedDraws
from .selection import inclusion_weights, scales_of

__all__ = ["PosteriorSummaries"]

STUCK = "Chains stay where they began: they may be in different modes, all of which method='smc' visits."


@dataclass(frozen=True, repr=False)
class PosteriorSummaries(NamedDraws, Classified):
    """Draws from the posterior of a mixture of trajectories, with summaries.

    It holds the `model`, the `data`, the problem `at` in standard units with its priors, the `scaling` between the two,
    the `result` of the inference, and the `reference` of odds.
    """

    @cached_property
    def reasons(self) -> tuple[Finding, ...]:
        """What the checks of the inference found, of the reported parameters after classes were renamed.

        (`result.reasons` knows no names: chains that call the classes otherwise disagree there.)
        """
        try:
            named = {
                f"{row.parameter}, class {row.label}": self.values[..., i]
                for i, row in enumerate(self.rows) if self.ties[i] != "fixed"
            }  # fmt: skip
        except DeadPopulationError:
            return self.result.reasons
        found = replace(self.result, _posterior=named).reasons
        chains = self.result.log_evidence is None
        return tuple(replace(each, message=f"{each.message} {STUCK}") if chains and each.code == "HIGH_RHAT" else each
                     for each in found)  # fmt: skip

    @property
    def ok(self) -> bool:
        """Whether no check of the inference failed; `reasons` tells why."""
        return not any(finding.status for finding in self.reasons)

    @property
    def log_evidence_by_run(self) -> np.ndarray:
        """Log evidence of each independent run, of the data in the user's units (runs,); NaN for chains."""
        if self.result.log_evidence is None:
            return np.full(1, np.nan)
        seen = int(np.asarray(self.at.panel.mask).sum())
        return np.asarray(self.result.log_evidence) + self.scaling.log_jacobian(seen, len(self.data.y), self.model)

    @property
    def log_evidence(self) -> float:
        """Log evidence of the data in the user's units, pooled over runs."""
        return pooled_evidence(self.log_evidence_by_run)[0]

    @property
    def log_evidence_error(self) -> float:
        """Its standard error by the spread of the runs; NaN for one run."""
        return pooled_evidence(self.log_evidence_by_run)[1]

    def estimates(self, level: float = 0.95) -> Any:
        """A frame of pandas: class, parameter, meaning, estimate, se, lower, upper, flag; classes of draws are renamed.

        Estimates are the means of draws, errors their standard deviations, ends the quantiles of a central interval.
        A flag says that a parameter is "equal" in all classes or "fixed".

        Args:
            level: of the interval.
        """
        import pandas

        flat = self.values.reshape(-1, len(self.rows))
        lower, upper = np.quantile(flat, tails(level), axis=0)
        return pandas.DataFrame({
            "class": [row.label for row in self.rows], "parameter": [row.parameter for row in self.rows],
            "meaning": [row.meaning for row in self.rows], "estimate": flat.mean(axis=0),
            "se": flat.std(axis=0, ddof=1), "lower": lower, "upper": upper, "flag": self.ties,
        })  # fmt: skip

    def to_nlpsem_names(self) -> dict[str, float]:
        """Give the posterior means under the names of nlpsem, as c1mueta0, c1mug, c1psi00, c1residuals and beta20."""
        means = self.values.mean(axis=(0, 1)).tolist()
        return dict(zip(nlpsem_names_of(self.rows, self.model), means, strict=True))

    def summary(self) -> str:
        """Tell the posterior on a page: evidence, classes, what checks found, and the estimates."""
        classes = "1 class" if self.model.n_classes == 1 else f"{self.model.n_classes} classes"
        chains, draws = self.shape
        lines = [
            ", ".join([
                self.model.form.long_name, classes, f"{self.n} persons", f"{self.n_parameters} parameters",
                *held_of(self.model),
            ]),
            f"{chains} {'chains' if self.result.log_evidence is None else 'runs'} of {draws} draws",
            "class sizes " + ", ".join(f"{size:.3f}" for size in self.class_sizes)
            + (f"   entropy {self.entropy:.3f}" if self.model.n_classes > 1 else ""),
        ]  # fmt: skip
        if np.isfinite(self.log_evidence):
            lines.append(f"log evidence {self.log_evidence:.2f}, standard error {self.log_evidence_error:.2f}")
        lines += [f"NOT OK, {finding.code}: {finding.message}" for finding in self.reasons if finding.status]
        table = self.estimates().drop(columns="parameter").to_string(index=False, float_format=lambda x: f"{x:.5g}")
        return "\n".join([*lines, "", table])

    @doubly
    def predict_proba(self, data: Any = None, outcomes: bool = True) -> np.ndarray:
        """Give the probability of each class for each person, parameters not known (n, K).

        Args:
            data: other persons, in a frame with the columns of that of the data, or as read by `read_wide` or
                `read_long`; those of the data by default. Outcomes may be missing.
            outcomes: whether outcomes and growth covariates count; else gate covariates alone are read.

        Returns: means over draws, classes renamed; persons in the order of their rows, in long data in that of their
            identifiers.
        """
        if data is None and outcomes:
            return self.names.mean
        read = self.data if data is None else read_again(data, self.data, outcomes)
        return predictions.memberships_of(self, read, outcomes)

    def class_intervals(self, level: float = 0.95) -> np.ndarray:
        """Give the central interval of each person's probability of each class (n, K, 2)."""
        return membership_interval(self.memberships, self.names, level)

    def co_membership(self, persons: Any = None) -> np.ndarray:
        """Give the probability that two persons belong to one class (m, m); no names are needed.

        Args:
            persons: places of m persons in the data, from 0; all by default.

        Raises: LawfulError for more than 10,000 persons.
        """
        return co_membership(self.memberships if persons is None else self.memberships[:, np.asarray(persons)])

    def occupied(self) -> np.ndarray:
        """Give the probabilities that 1, ..., K classes have a person (K,); no names are needed."""
        return occupied_classes(self.memberships)

    def sorted_functionals(self, level: float = 0.95) -> Any:
        """A frame of pandas of what can be sorted within each draw: sizes, and shapes where the curve has one.

        Columns: functional, rank from the smallest, mean, sd, lower, upper. No names are needed.
        """
        import pandas

        unit = float(self.scaling.t_scale) ** self.model.form.shape_power
        found = {"size": self.memberships.mean(axis=1)}
        if self.model.form.shape:
            found[self.model.form.shape] = self.drawn.shape.reshape(-1, self.model.n_classes) * unit
        ends, rows = tails(level), []
        for name, values in found.items():
            for rank, column in enumerate(np.sort(values, axis=1).T, start=1):
                lower, upper = np.quantile(column, ends)
                rows.append((name, rank, column.mean(), column.std(ddof=1), lower, upper))
        return pandas.DataFrame(rows, columns=["functional", "rank", "mean", "sd", "lower", "upper"])

    def inclusion(self) -> Any:
        """A frame of pandas of covariates that were selected: part, covariate, weight of inclusion (see `selection`).

        Raises: LawfulError where none were: call `bayes` with select="horseshoe".
        """
        import pandas

        names = {"gate": self.data.gate_names, "effect": self.data.growth_names}
        rows = [
            ("growth" if part == "effect" else part, name, weight)
            for part, own in names.items()
            if f"{part}_local" in self.sites
            for name, weight in zip(own, inclusion_weights(scales_of(self.sites, part), len(self.data.y)), strict=True)
        ]
        if not rows:
            raise LawfulError('inclusion: no covariate was selected. Fix: call bayes(..., select="horseshoe").')
        return pandas.DataFrame(rows, columns=["part", "covariate", "weight"])

    @doubly
    def curves(self, times: Any, level: float = 0.95) -> np.ndarray:
        """Give mean and pointwise interval of the curve of each class where covariates are 0 (K, m, 3).

        Args:
            times: in the user's units (m,).
            level: of the interval.
        """
        at, form = self.parameters, self.model.form
        flat_mean = jnp.asarray(at.mean.reshape(-1, form.q)).T[..., None]
        shape = at.shape.reshape(-1, 1) if form.shape else np.zeros((flat_mean.shape[1], 1))
        found = np.asarray(form.value(jnp.asarray(times, float)[None], jnp.asarray(shape), flat_mean))
        by_class = found.reshape(-1, self.model.n_classes, found.shape[1])
        lower, upper = np.quantile(by_class, tails(level), axis=0)
        return np.stack([by_class.mean(axis=0), lower, upper], axis=-1)

    @doubly
    def predict_outcome(
        self, times: Any, covariates: Any = None, data: Any = None, level: float = 0.95, interval: str = "mean",
        draws: int = predictions.DRAWS,
    ) -> PredictedOutcomes:  # fmt: skip
        """Predict outcomes at given times, class by class and with the classes summed out.

        Args:
            times: in the user's units (m,), as those of `data.t`, which count from a person's first time with
                center_time="own_first".
            covariates: values by name, a number or one for each of r settings; of time-varying ones a number, one a
                time (m,), or (r, m), and 0 if left out. A frame with a row a setting will do. None for 0 throughout.
            data: persons, in a frame with the columns of that of the data, or `posterior.data` for those of the data:
                their outcomes count, too, and what is predicted of a class is the person's own curve in it. None for
                persons of whom covariates alone are known.
            level: of the central interval.
            interval: "mean", of what is expected, by the quantiles of draws; "curve", where the person's own curve is,
                which growth factors decide; or "outcome", where a new outcome is, its residual included.
            draws: how many of the posterior are looked at, evenly spaced.

        Returns: the outcomes, means over draws. In the joint variant growth covariates tell of the class, too. A random
            shape is followed to first order.

        Raises: LawfulError for times that are no finite numbers, and covariates that the model has not, or lacks.
        """
        check_level(level, "predict_outcome")
        check_interval(interval)
        grid = grid_of(times, covariates, data, self.data)
        return predictions.predicted_outcomes(self, grid, level, interval, draws)

    @doubly
    def fitted_values(self, outcomes: bool = True, draws: int = predictions.DRAWS) -> np.ndarray:
        """Give the outcomes that the posterior expects, beside those that were seen.

        Args:
            outcomes: whether a person's own outcomes count, which gives the person's own curve; else covariates alone.
            draws: how many of the posterior are looked at, evenly spaced.

        Returns: (n, J) for wide data, one a row of the frame for long data; NaN where no outcome was seen. Parameters
            and classes are summed out; time-varying covariates are those measured.
        """
        found = predictions.fitted_outcomes(self, outcomes, draws)
        return self.data.by_row(np.where(np.isfinite(self.data.y), found, np.nan))

    def residuals(self, outcomes: bool = True) -> np.ndarray:
        """Give the outcomes less those that `fitted_values` gives, in the same shape; NaN where none was seen."""
        return self.data.by_row(self.data.y) - self.fitted_values(outcomes)

    @doubly
    def person_curves(
        self, times: Any, persons: Any = None, level: float = 0.95, outcomes: bool = False,
        draws: int = predictions.DRAWS,
    ) -> np.ndarray:  # fmt: skip
        """Give mean and pointwise interval of the curve of each person, classes summed out (p, m, 3); no names needed.

        Args:
            times: as those of `data.t`, which count from a person's first with center_time="own_first" (m,).
            persons: places of p persons in the data, from 0; all by default.
            level: of the central interval.
            outcomes: whether the interval is that of a new outcome, its residual included.
            draws: how many of the posterior are looked at, evenly spaced.

        Returns: mean, lower and upper end. A random shape is followed to first order; time-varying covariates count
            where they were measured, and are 0 in the curve.

        Raises: LawfulError where times are no finite numbers, or persons no places.
        """
        return predictions.person_curves(self, times, persons, level, outcomes, draws)

    @doubly
    def mixture_density(self, y: Any, time: Any, draws: int = predictions.DRAWS) -> np.ndarray:
        """Give the density of an outcome at a time (m,), of persons with the covariates of the data; no names needed.

        Args:
            y: outcomes in the user's units (m,).
            time: when, as those of `data.t`.
            draws: how many of the posterior are averaged over, evenly spaced.

        Returns: averages over draws and persons of the density of a new person's outcome given their covariates;
            time-varying ones are 0.

        Raises: LawfulError where outcomes or the time are no finite numbers.
        """
        return predictions.mixture_density(self, y, time, draws)
