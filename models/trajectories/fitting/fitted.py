"""A fitted mixture of trajectories, at the point that a search found: all that its density says there.

Law: everything is a function of one point and the data, in the user's units; classes come by decreasing size, and no
number depends on the names that the search gave them.
Factor scores are those of reports, a linear change of the factors of the curve's basis, so that a person's curve is the
same in both; over classes their moments are those of the mixture by memberships.
"""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful import one_key

from ..likelihood.density import factor_scores, log_likelihood_by_person, log_memberships, log_prior_classes
from ..likelihood.expected_outcomes import expected_outcomes
from ..model.panels import Panel, panel
from ..model.parameters import Model, Parameters, unpack
from ..model.reports import Row, changes_of, ordered, rows_of, values_of
from ..model.scaling import Scaling, doubly, in_user_units, standardised
from ..model.simulate import Drawn, draw
from ..reading.prediction_grid import unseen, when_seen
from ..reading.read_frames import Measured, read_again
from .agreement import unsureness
from .classified import Classified
from .objective import Problem
from .search import SAME, Search

__all__ = ["FittedMixture", "scores_of"]


@dataclass(frozen=True, repr=False)
class FittedMixture(Classified):
    """A mixture of trajectories with its parameters known.

    Attributes:
        model: which mixture.
        data: what it was fitted to.
        problem: the same in standard units.
        scaling: from these to the user's.
        search: all that the search found, in standard units.
        penalised: whether a penalty was added, that of `problem`.
        order: which class of the search comes first, second, and so on.
        reference: the class that odds are told against, from 0.
        program: the joint whose mode the point is; None where it is of the likelihood, and of the penalty of `problem`.
    """

    model: Model
    data: Measured
    problem: Problem
    scaling: Scaling
    search: Search
    penalised: bool
    order: tuple[int, ...]
    reference: int = 0
    program: Any = None

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
    def log_likelihood_by_person(self) -> np.ndarray:
        """Log-likelihood of each person (n,), without the penalty."""
        found = log_likelihood_by_person(self._standard, self.problem.panel, self.model, self.problem.width)
        seen = np.asarray(self.problem.panel.mask).sum(axis=0)
        return np.asarray(found) + self.scaling.log_jacobian(seen, 1, self.model)

    @property
    def minus2ll(self) -> float:
        """Minus two log-likelihoods, without the penalty."""
        return float(-2 * self.log_likelihood_by_person.sum()) if self.penalised else self.minus2ll_penalised

    @property
    def pooling(self) -> float | None:
        """How many persons each class borrowed, or None where the classes were not pooled."""
        return None if self.problem.pooling is None else float(self.problem.pooling.persons)

    @property
    def minus2ll_penalised(self) -> float:
        """Minus two log-likelihoods with the penalty; `minus2ll` where there is none."""
        return float(-2 * (self.search.value[self.search.best] + self.log_jacobian))

    @cached_property
    def rows(self) -> list[Row]:
        """What is reported, in order."""
        names = self.data.gate_names, self.data.growth_names, self.reference, self.data.varying_names
        return rows_of(self.model, *names)

    @cached_property
    @doubly
    def values(self) -> np.ndarray:
        """The reported parameters (R,), as `rows` names them."""
        return np.asarray(values_of(*self.reported_at))

    @property
    def reported_at(self) -> tuple[Any, ...]:
        """What `values_of` and `slopes_of` take: the point, and how it is reported."""
        return jnp.asarray(self.free), self.model, self.problem.bounds, self.scaling, self.order, self.reference

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
        return self.bic + 2 * unsureness(self.predict_proba())

    @doubly
    def predict_proba(self, data: Any = None, outcomes: bool = True) -> np.ndarray:
        """Give the probability of each class for each person (n, K).

        Args:
            data: other persons, in a frame with the columns of that of the fit, or as read by `read_wide` or
                `read_long`; those of the fit by default. Outcomes may be missing.
            outcomes: whether outcomes and growth covariates count; else gate covariates alone are read.

        Returns: persons in the order of their rows, in long data in that of their identifiers.
        """
        seen = self.problem.panel
        if data is not None:
            seen = self.standard_panel(read_again(data, self.data, outcomes))
        if outcomes:
            found = log_memberships(self._standard, seen, self.model, self.problem.width)
        else:
            found = log_prior_classes(self._standard.gate, seen.gate)
        return np.exp(np.asarray(found)).T

    @doubly
    def factor_scores(self, mixed: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Give mean (n, K, Q) and covariance (n, K, Q, Q) of persons' growth factors, given the class and outcomes.

        Args:
            mixed: whether classes are summed out by memberships, which leaves (n, Q) and (n, Q, Q).

        Returns: factors as in reports, eta0, eta1, ...; a random shape comes last and is followed to first order.
        """
        return scores_of(self, mixed)

    @doubly
    def mean_curves(self, times: Any) -> np.ndarray:
        """Give the curve of each class where covariates are 0 (K, m), at times (m,), without errors."""
        at, form = self.parameters, self.model.form
        times = jnp.asarray(times, float)
        shape = at.shape[:, 0] if form.shape else np.zeros(self.model.n_classes)
        return np.stack([np.asarray(form.value(times, g, a)) for g, a in zip(shape, at.mean, strict=True)])

    @doubly
    def fitted_values(self, outcomes: bool = True) -> np.ndarray:
        """Give the outcomes that the fit expects, beside those that were seen.

        Args:
            outcomes: whether a person's own outcomes count, which gives the person's own curve; else covariates alone.

        Returns: (n, J) for wide data, one a row of the frame for long data; NaN where no outcome was seen. Classes are
            summed out; time-varying covariates are those measured; a random shape is followed to first order.
        """
        data, (times, varying) = self.data, when_seen(self.data)
        read = data if outcomes else unseen(data)
        seen = panel(read.y, read.t, read.gate, read.growth, read.varying)
        at = jax.tree.map(jnp.asarray, self.parameters)
        found = _expected(at, seen, jnp.asarray(times), self.model, self.problem.width * self.scaling.t_scale, varying)
        return data.by_row(np.where(np.isfinite(data.y), np.asarray(found), np.nan))

    def residuals(self, outcomes: bool = True) -> np.ndarray:
        """Give the outcomes less those that `fitted_values` gives, in the same shape; NaN where none was seen."""
        return self.data.by_row(self.data.y) - self.fitted_values(outcomes)

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

    @property
    def _standard(self) -> Parameters:
        at = unpack(self.free[:, None], self.model, self.problem.bounds)
        return ordered(at, self.order, self.reference)


@partial(jax.jit, static_argnames="model")
def _expected(at: Parameters, seen: Panel, times: Any, model: Model, width: Any, varying: Any) -> jax.Array:
    return expected_outcomes(at, seen, times, model, width, varying).marginal


def scores_of(fit: FittedMixture, mixed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Give means and covariances of persons' growth factors.

    Args:
        fit: a fit.
        mixed: whether classes are summed out.

    Returns: (n, K, Q) and (n, K, Q, Q), or (n, Q) and (n, Q, Q).
    """
    at, model = fit.parameters, fit.model
    seen = panel(fit.data.y, fit.data.t, fit.data.gate, fit.data.growth, fit.data.varying)
    wide = jax.tree.map(lambda leaf: jnp.asarray(leaf)[..., None], at)
    mean, cov = factor_scores(wide, seen, model, fit.problem.width * fit.scaling.t_scale)
    own = int(model.intrinsic)
    centre = np.concatenate([np.zeros((model.n_classes, own)), at.mean], axis=1)
    told, change = (np.asarray(each) for each in changes_of(jax.tree.map(jnp.asarray, at), model))
    told = np.concatenate([told, at.shape[:, :own]], axis=1)
    mean = told[:, None] + np.einsum("kab,knb->kna", change, np.asarray(mean) - centre[:, None])
    cov = np.einsum("kab,knbc,kdc->knad", change, np.asarray(cov), change)
    mean, cov = np.swapaxes(mean, 0, 1), np.swapaxes(cov, 0, 1)
    if not mixed:
        return mean, cov
    w = fit.predict_proba()
    middle = np.einsum("nk,nka->na", w, mean)
    apart = mean - middle[:, None]
    return middle, np.einsum("nk,nkab->nab", w, cov + apart[..., None] * apart[..., None, :])
