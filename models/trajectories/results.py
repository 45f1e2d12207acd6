"""What a fit of a mixture of trajectories found: estimates with errors, and how sure the search is.

Law: an error, an interval or an edge is told of the point itself, and what else the search found is told beside it.

Source: specification sections 8.4, 8.7 and 16.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError

from . import frames
from .bands import curve_bands
from .bootstrapping import Bootstrap, bootstrapped
from .boundaries import Finding, findings_at
from .engine import curvature
from .fitted import FittedMixture
from .intervals import profile_interval
from .plots import Plots
from .precision import doubly
from .profiles import profiled
from .reports import Row, rows_of, slopes_of, values_of
from .search import SAME
from .standard_errors import StandardErrors, standard_errors

__all__ = ["TrajectoryFit"]


@dataclass(frozen=True, repr=False)
class TrajectoryFit(FittedMixture):
    """A fitted mixture of trajectories, with the errors of its estimates and the other optima.

    It holds the `model`, the `data`, the `problem` (data in standard units), the `scaling` between the two, the
    `search` with all that it found, whether it was `penalised`, the `order` of classes and the `reference` of odds.
    """

    def __repr__(self) -> str:
        """Tell the fit in a line."""
        from .telling import headline

        return f"<TrajectoryFit: {headline(self)}>"

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
    def boundary(self) -> list[Finding]:
        """Edges and kinks that the estimate lies on."""
        with jax.enable_x64(True):
            return findings_at(self.free, self.problem, self.model, self.order)

    @doubly
    def bands(self, times: Any, level: float = 0.95, bootstrap: Bootstrap | None = None) -> tuple[Any, Any]:
        """Give a pointwise band of each curve of `curves`: lower and upper ends (K, m), (K, m).

        Args:
            times: in the user's units (m,).
            level: of confidence.
            bootstrap: replicates, whose quantiles are taken; else the delta method, NaN where errors are refused.
        """
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
        names = frames.nlpsem_names_of(self)
        if name not in names:
            raise LawfulError(f"interval: no parameter {name!r}. Fix: give one of {', '.join(names)}.")
        return profile_interval(self, names.index(name), level)

    @doubly
    def profile(self, label: int, values: Any) -> np.ndarray:
        """Give -2LL with the shape parameter of a class held (m,), everything else at its best for it.

        Args:
            label: the class, from 1.
            values: of its shape parameter, in the user's units (m,).
        """
        unit = float(self.scaling.t_scale) ** self.model.form.shape_power
        shapes = np.asarray(values, float) / unit
        found = profiled(self.free, self.problem, self.model, self.order[label - 1], shapes, self.penalised)
        return -2 * (found + self.log_jacobian)

    @doubly
    def bootstrap(self, key: jax.Array, n: int = 200) -> Bootstrap:
        """Draw persons anew n times, fit each time from the estimate, and tell how far estimates move.

        Args:
            key: a key of `jax.random`.
            n: number of replicates.
        """
        return bootstrapped(self, key, n)

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

    def optimum(self, place: int) -> TrajectoryFit:
        """Give the fit as it would be told had the search found nothing better than a row of `optima`.

        Args:
            place: the row, 0 being the fit itself.

        Raises:
            LawfulError: there is no such row.
        """
        return replace(self, **frames.ended_at(self, place))

    @property
    def replicated(self) -> bool:
        """Whether more than one climb reached the best value."""
        near = self.search.value > self.search.value[self.search.best] - SAME
        return int(np.sum(near & ~self.search.degenerate)) > 1

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
