"""What a fit of a mixture of trajectories found: estimates with errors, memberships, and how sure the search is.

Law: everything is a function of one point and the data, in the user's units; classes come by decreasing size, and no
number depends on the names that the search gave them.

Source: specification sections 2, 8.4, 8.7 and 16.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError
from lawful.inference.plan import one_key

from . import frames
from .agreement import accuracy, entropy_index, kappa, unsureness
from .bands import curve_bands
from .bootstrapping import Bootstrap, bootstrapped
from .boundaries import Finding, findings_at
from .density import log_likelihood_by_person, log_memberships, log_prior_classes
from .engine import Problem, curvature
from .intervals import profile_interval
from .naming import order_of
from .panels import Panel, panel
from .parameters import Model, Parameters, unpack
from .plots import Plots
from .precision import doubly
from .profiles import profiled
from .reading import Measured, read_again
from .reports import Row, ordered, rows_of, slopes_of, values_of
from .scaling import Scaling, in_user_units, standardised
from .scores import scores_of
from .search import SAME, Search
from .settings import check_level
from .simulate import Drawn, draw
from .standard_errors import StandardErrors, standard_errors

__all__ = ["TrajectoryFit"]


@dataclass(frozen=True, repr=False)
class TrajectoryFit:
    """A fitted mixture of trajectories.

    Attributes:
        model: which mixture.
        data: what it was fitted to.
        problem: the same in standard units.
        scaling: from these to the user's.
        search: all that the search found, in standard units.
        penalised: whether the weak penalty was added.
        order: which class of the search comes first, second, and so on.
        reference: the class that odds are told against, from 0.
    """

    model: Model
    data: Measured
    problem: Problem
    scaling: Scaling
    search: Search
    penalised: bool
    order: tuple[int, ...]
    reference: int = 0

    def __repr__(self) -> str:
        """Tell the fit in a line."""
        from .telling import headline

        return f"<TrajectoryFit: {headline(self)}>"

    @property
    def free(self) -> np.ndarray:
        """The best point (P,), as the search knows it."""
        return self.search.free[self.search.best]

    @cached_property
    @doubly
    def parameters(self) -> Parameters:
        """The estimates in the user's units, as the density takes them, classes in order."""
        at = in_user_units(unpack(self.free, self.model, self.problem.bounds), self.model, self.scaling)
        return jax.tree.map(np.asarray, ordered(at, self.order, self.reference))

    @cached_property
    @doubly
    def loglik_by_person(self) -> np.ndarray:
        """Log-likelihood of each person (n,), without the penalty."""
        found = log_likelihood_by_person(self._standard, self.problem.panel, self.model, self.problem.width)
        seen = np.asarray(self.problem.panel.mask).sum(axis=0)
        return np.asarray(found) + self.scaling.log_jacobian(seen, 1, self.model)

    @property
    def minus2ll(self) -> float:
        """Minus two log-likelihoods, without the penalty."""
        return float(-2 * self.loglik_by_person.sum()) if self.penalised else self.minus2ll_penalised

    @property
    def minus2ll_penalised(self) -> float:
        """Minus two log-likelihoods with the penalty; `minus2ll` where there is none."""
        return float(-2 * (self.search.value[self.search.best] + self.log_jacobian))

    @property
    def log_jacobian(self) -> float:
        """What log-likelihoods of the search lack for the user's units."""
        seen = int(np.asarray(self.problem.panel.mask).sum())
        return float(self.scaling.log_jacobian(seen, self.n, self.model))

    def standard_panel(self, data: Measured) -> Panel:
        """Give persons as the search would see them, in the standard units of the fit."""
        return standardised(panel(data.y, data.t, data.gate, data.growth, data.varying), self.scaling)

    @property
    def n_parameters(self) -> int:
        """Number of free parameters."""
        return self.model.size

    @property
    def n(self) -> int:
        """Number of persons, which is what information criteria count."""
        return len(self.data.y)

    @property
    def aic(self) -> float:
        """Akaike's criterion."""
        return self.minus2ll + 2 * self.n_parameters

    @property
    def bic(self) -> float:
        """Schwarz's criterion."""
        return self.minus2ll + self.n_parameters * float(np.log(self.n))

    @property
    def sabic(self) -> float:
        """Schwarz's criterion with the sample size adjusted."""
        return self.minus2ll + self.n_parameters * float(np.log((self.n + 2) / 24))

    @property
    def icl(self) -> float:
        """Schwarz's criterion with the unsureness of the memberships added."""
        return self.bic + 2 * unsureness(self.class_probabilities())

    @property
    def entropy(self) -> float:
        """1 where every person surely belongs to one class, 0 where nobody can be told; NaN for one class."""
        return entropy_index(self.class_probabilities())

    @property
    def class_sizes(self) -> np.ndarray:
        """Mean membership of each class (K,), decreasing."""
        return self.class_probabilities().mean(axis=0)

    @doubly
    def class_probabilities(self, data: Any = None, outcomes: bool = True) -> np.ndarray:
        """Give the probability of each class for each person (n, K).

        Args:
            data: other persons, in a frame with the columns of that of the fit, or as read by `read_wide` or
                `read_long`; those of the fit by default.
            outcomes: whether what was measured counts; else the gate alone tells.

        Returns: persons in the order of their rows, in long data in that of their identifiers.
        """
        if data is not None and not isinstance(data, Measured):
            data = read_again(data, self.data, outcomes)
        seen = self.problem.panel if data is None else self.standard_panel(data)
        if outcomes:
            found = log_memberships(self._standard, seen, self.model, self.problem.width)
        else:
            found = log_prior_classes(self._standard.gate, seen.gate)
        return np.exp(np.asarray(found)).T

    def predict(self, data: Any, outcomes: bool = True) -> np.ndarray:
        """Give the probability of each class for further persons (n, K).

        Args:
            data: a frame with the columns of that of the fit; outcomes may be missing.
            outcomes: whether outcomes and growth covariates count; else gate covariates alone are read.

        Returns: persons in the order of their rows, in long data in that of their identifiers.
        """
        return self.class_probabilities(data, outcomes)

    def classify(self, data: Any = None) -> np.ndarray:
        """Give the most probable class of each person, from 1 (n,); of further ones as `class_probabilities`."""
        return 1 + np.argmax(self.class_probabilities(data), axis=1)

    @doubly
    def factor_scores(self, mixed: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Give mean (n, K, Q) and covariance (n, K, Q, Q) of persons' growth factors, given the class and outcomes.

        Args:
            mixed: whether classes are summed out by memberships, which leaves (n, Q) and (n, Q, Q).

        Returns: factors as in reports, eta0, eta1, ...; a random shape comes last and is followed to first order.
        """
        return scores_of(self, mixed)

    @doubly
    def curves(self, times: Any) -> np.ndarray:
        """Give the curve of each class where growth covariates are 0 (K, m), at times (m,)."""
        at, form = self.parameters, self.model.form
        times = jnp.asarray(times, float)
        shape = at.shape[:, 0] if form.shape else np.zeros(self.model.n_classes)
        return np.stack([np.asarray(form.value(times, g, a)) for g, a in zip(shape, at.mean, strict=True)])

    @doubly
    def bands(self, times: Any, level: float = 0.95, bootstrap: Bootstrap | None = None) -> tuple[Any, Any]:
        """Give a pointwise band of each curve of `curves`: lower and upper ends (K, m), (K, m).

        Args:
            times: in the user's units (m,).
            level: of confidence.
            bootstrap: replicates, whose quantiles are taken; else the delta method, NaN where errors are refused.
        """
        check_level(level, "bands")
        return curve_bands(self, times, level, bootstrap)

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
        names = frames.nlpsem_names_of(self)
        if name not in names:
            raise LawfulError(f"interval: no parameter {name!r}. Fix: give one of {', '.join(names)}.")
        return profile_interval(self, names.index(name), level)

    @doubly
    def profile(self, label: int | str, values: Any) -> np.ndarray:
        """Give -2LL with the shape parameter of a class held (m,), everything else at its best for it.

        Args:
            label: the class, from 1, or its parameter in the words of nlpsem, as "c1mug".
            values: of its shape parameter, in the user's units (m,).

        Raises:
            LawfulError: there is no such class, the curve has no shape, or a value is none that it can have.
        """
        labels = {name: k for k in range(1, self.model.n_classes + 1) for name in (k, f"c{k}mug")}
        if label not in labels:
            raise LawfulError(f"profile: no class {label!r}. Fix: give one of {', '.join(map(str, labels))}.")
        unit = float(self.scaling.t_scale) ** self.model.form.shape_power
        shapes, k = np.asarray(values, float) / unit, self.order[labels[label] - 1]
        found = profiled(self.free, self.problem, self.model, k, shapes, self.penalised, unit)
        return -2 * (found + self.log_jacobian)

    @doubly
    def simulate(self, key: Any) -> Drawn:
        """Draw the persons anew from the fit, at their times, what was missing left out.

        Args:
            key: a key of `jax.random`, or a seed.
        """
        t = np.where(np.isfinite(self.data.t), self.data.t, 0.0)
        drawn = draw(one_key(key), self.parameters, self.model, t, self.data.gate, self.data.growth, self.data.varying)
        return drawn._replace(y=np.where(np.isfinite(self.data.y), drawn.y, np.nan))

    def redrawn(self, key: Any) -> Measured:
        """Give what a study would have measured had it met the persons that `simulate` draws."""
        drawn = self.simulate(key)
        return replace(self.data, y=drawn.y, growth=drawn.growth, varying=drawn.varying)

    @doubly
    def bootstrap(self, key: Any, n: int = 200) -> Bootstrap:
        """Draw persons anew n times, fit each time from the estimate, and tell how far estimates move.

        Args:
            key: a key of `jax.random`, or a seed.
            n: number of replicates.
        """
        return bootstrapped(self, one_key(key), n)

    def accuracy(self, labels: Any) -> float:
        """Give the share of persons in their known class, under the best naming of the classes."""
        return accuracy(self.classify(), labels)

    def kappa(self, other: Any) -> float:
        """Give the agreement beyond chance with another fit, or with labels, under the best naming of the classes."""
        return kappa(self.classify(), other.classify() if isinstance(other, TrajectoryFit) else other)

    @cached_property
    def boundary(self) -> list[Finding]:
        """Edges and kinks that the estimate lies on."""
        with jax.enable_x64(True):
            return findings_at(self.free, self.problem, self.model, self.order)

    @cached_property
    @doubly
    def standard_errors(self) -> StandardErrors:
        """Errors of the reported parameters, by observed information and by the sandwich."""
        hessian, scores = curvature(jnp.asarray(self.free), self.problem, self.model, self.penalised)
        gates = len(self.rows) - (self.model.n_classes - 1) * (1 + self.model.p_gate)
        gated = {row: i >= gates for i, row in enumerate(self.rows)}
        slopes = slopes_of(*self._told)
        return standard_errors(
            np.asarray(hessian), np.asarray(scores), np.asarray(slopes), self.rows, self.boundary, gated.__getitem__
        )

    @cached_property
    def rows(self) -> list[Row]:
        """What is reported, in order."""
        names = self.data.gate_names, self.data.growth_names, self.reference, self.data.varying_names
        return rows_of(self.model, *names)

    @cached_property
    @doubly
    def values(self) -> np.ndarray:
        """The reported parameters (R,), as `rows` names them."""
        return np.asarray(values_of(*self._told))

    @property
    def estimates(self) -> Any:
        """A frame of pandas: class, parameter, meaning, estimate, se, se_robust, lower, upper, flag."""
        return frames.estimates_of(self)

    def to_nlpsem_names(self) -> dict[str, float]:
        """Give the estimates under the names of nlpsem, as c1mueta0, c1mug, c1psi00, c1residuals and beta20."""
        return dict(zip(frames.nlpsem_names_of(self), self.values.tolist(), strict=True))

    @property
    def starts(self) -> Any:
        """A frame of pandas, one row a start: -2LL with any penalty, and whether it came to rest or is degenerate."""
        return frames.starts_of(self)

    @property
    def optima(self) -> Any:
        """A frame of pandas, one row a distinct optimum, the best first.

        Columns: minus2ll, the number of starts and of climbs of polish that reached it, the sizes of its classes, their
        shapes, the smallest eigenvalue of the correlations of each Psi, and whether it is degenerate.
        """
        return frames.optima_of(self)

    def reordered(self, by: Any = "size", reference: int = 1) -> TrajectoryFit:
        """Give the same fit with its classes in another order, and odds told against another class.

        Args:
            by: "size", the largest first; a parameter of each class, as "mug" or "mueta0", the lowest first; or the
                labels of this fit in the order in which they are to come, as (2, 1).
            reference: the class that odds are told against, from 1 in the new order.
        """
        return replace(self, order=order_of(self, by, reference), reference=reference - 1)

    def optimum(self, place: int) -> TrajectoryFit:
        """Give the fit as it would be told had the search found nothing better than a row of `optima`.

        Args:
            place: the row, 0 being the fit itself.

        Raises:
            LawfulError: there is no such row.
        """
        return replace(self, **frames.ended_at(self, place))

    def reached(self, within: float = 2 * SAME) -> int:
        """Give the number of starts that ended within so many units of the best -2LL, climbs of polish left out."""
        search = self.search
        near = search.value >= search.value[search.best] - 0.5 * within
        return int(np.sum(near & (search.start >= 0) & (search.degenerate == search.degenerate[search.best])))

    @property
    def replicated(self) -> bool:
        """Whether more than one start reached the best value; polish begins near optima, and replicates nothing."""
        return self.reached() > 1

    @property
    def plot(self) -> Plots:
        """Pictures of the fit: `plot.curves()`, `persons()`, `profile(label)`, `gate()`, `starts()`, `residuals()`."""
        return Plots(self)

    def summary(self) -> str:
        """Tell the fit on a page: criteria, classes, how often the best was found, edges, and the estimates."""
        from .telling import told

        return told(self)

    @property
    def _told(self) -> tuple[Any, ...]:
        free = jnp.asarray(self.free)
        return free, self.model, self.problem.bounds, self.scaling, self.order, self.reference

    @property
    def _standard(self) -> Parameters:
        at = unpack(self.free[:, None], self.model, self.problem.bounds)
        return ordered(at, self.order, self.reference)
