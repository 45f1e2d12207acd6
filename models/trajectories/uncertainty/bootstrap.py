"""The parametric bootstrap: persons drawn anew from a fit, the fit made again, and how far estimates move.

Law: a replicate is the highest point near the estimate for data whose truth is the estimate, so labels stay what they
are, and no curvature is asked: errors exist on kinks and at edges too. All replicates run in one compiled program.

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), sections
6.5 and 13.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError

from ..fitting.fitted import FittedMixture
from ..fitting.objective import Problem, climb_panels
from ..fitting.optimiser import Climbed, Schedule
from ..model.panels import Panel
from ..model.parameters import Model
from ..model.reports import Row, values_of
from ..reading.settings import check_level

__all__ = ["Bootstrap", "bootstrapped", "climbed_panels", "drawn_panels"]

BATCH = 4  # replicates of one call
AGAIN = Schedule(np.zeros(1), np.full(1, 1e-7), 300)


@dataclass(frozen=True)
class Bootstrap:
    """Fits to data drawn from a fit.

    Attributes:
        rows: what is reported (R,).
        estimate: of the fit (R,).
        values: of the replicates (B, R).
        minus2ll: theirs (B,).
        calm: whether the climb came to rest (B,); on a kink it may end by finding no higher point.
    """

    rows: list[Row]
    estimate: np.ndarray
    values: np.ndarray
    minus2ll: np.ndarray
    calm: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        """Standard deviations over replicates (R,)."""
        return self.values.std(axis=0, ddof=1)

    def intervals(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Give percentile intervals: lower and upper ends (R,), (R,)."""
        check_level(level, "intervals")
        tail = 0.5 * (1 - level)
        lower, upper = np.quantile(self.values, [tail, 1 - tail], axis=0)
        return lower, upper

    def frame(self, level: float = 0.95) -> Any:
        """Give a frame of pandas: class, parameter, meaning, estimate, bias, se, lower, upper."""
        import pandas

        lower, upper = self.intervals(level)
        return pandas.DataFrame({
            "class": [row.label for row in self.rows], "parameter": [row.parameter for row in self.rows],
            "meaning": [row.meaning for row in self.rows], "estimate": self.estimate,
            "bias": self.values.mean(axis=0) - self.estimate, "se": self.errors, "lower": lower, "upper": upper,
        })  # fmt: skip


def bootstrapped(fit: FittedMixture, key: jax.Array, n: int) -> Bootstrap:
    """Draw n data sets from a fit, and fit each from the estimate.

    Args:
        fit: a fit.
        key: a key of `jax.random`.
        n: number of replicates.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise LawfulError(f"bootstrap: n={n!r}, expected a number of replicates. Fix: give 200, say.")
    panels = drawn_panels(fit, key, n)
    free = np.broadcast_to(fit.free, (n, 1, fit.model.size))
    found = climbed_panels(free, 0, panels, fit.problem, fit.model, fit.penalised)
    told = jax.vmap(lambda free: values_of(free, fit.model, fit.problem.bounds, fit.scaling, fit.order, fit.reference))
    values = np.asarray(told(found.free[:, 0]))
    minus2ll = -2 * (np.asarray(found.value[:, 0]) + fit.log_jacobian)
    return Bootstrap(fit.rows, fit.values, values, minus2ll, np.asarray(found.calm[:, 0]))


def drawn_panels(fit: FittedMixture, key: jax.Array, n: int) -> list[Panel]:
    """Draw n panels from a fit, in its standard units."""
    return [fit.standard_panel(fit.redrawn(each)) for each in jax.random.split(key, n)]


def climbed_panels(
    free: np.ndarray, stage: Any, panels: list[Panel], problem: Problem, model: Model, penalised: bool,
    schedule: Schedule = AGAIN,
) -> Climbed:  # fmt: skip
    """Climb on each of several panels of one shape.

    Args:
        free: starts (B, S, P), S for each panel.
        stage: where each begins (B, S), or all of them.
        panels: B panels.
        problem: whose bounds and width are meant.
        model: which mixture.
        penalised: whether the penalty of the problem is added.
        schedule: stages.

    Returns: where each climb ended, leaves (B, S, ...).
    """
    count = len(panels)
    schedule = Schedule(*map(jnp.asarray, schedule))
    stages = np.broadcast_to(stage, free.shape[:2])
    calls = []
    for i in range(0, count, BATCH):  # the last batch is filled up with the last panel, at rest
        own = np.minimum(np.arange(i, i + BATCH), count - 1)
        still = np.where((np.arange(i, i + BATCH) < count)[:, None], stages[own], len(schedule.widths))
        batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(panels[j] for j in own))
        calls.append(
            climb_panels(jnp.asarray(free[own]), jnp.asarray(still), schedule, batch, problem, model, penalised)
        )
    return jax.tree.map(lambda *parts: jnp.concatenate(parts)[:count], *calls)
