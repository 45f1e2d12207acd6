"""Calibration: log odds on the scale that counts speak for.

Law: of all z' = slope z + shift the exact likelihood of the counts, sum_b log P(report_b | z'), is largest at the one
returned, under a prior on the slope so wide that it only matters where counts can be told apart perfectly. Counts of K
classes have one slope, and a shift for each class.

Few bags cannot tell a slope from chance: with fewer than 20 of them it is at most one. No slope is negative or zero:
scores of bags that were left out run against their counts where a learner knows little, and say no more than that. Rows
keep their order, and log odds a spread of 0.01 about the base rate: `flat` says so. Counts of one label alone have no
likeliest shift, and leave log odds as they are.

Reference: Platt (1999), Probabilistic outputs for support vector machines, for the two numbers; the likelihood is that
of bags.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from scipy.optimize import minimize

from lawful.errors import LawfulError, NonFiniteError

from ..bags.bags import Bags
from ..training.fitted import Fitted
from .likelihood import checked_logits, count_score
from .one_against_rest import one_label

__all__ = ["Calibration", "calibrated", "recalibrated"]

ENOUGH = 20  # bags that a slope above one asks for
STEEPEST = 20.0  # of slopes, in units of one over the spread of the log odds
FLATTEST = 0.01  # in these units: the spread of log odds that counts do not confirm
WIDTH = 10.0  # of the prior of the slope, in these units
ALIKE = 1e-9  # spread of log odds that are all the same
SLOPES = ("free", "capped", "one")


@dataclass(frozen=True, eq=False)
class Calibration:
    """The map z' = slope z + shift; with a shift for each class (K,) for log scores (n, K).

    Attributes:
        slope: above zero, so that rows keep their order.
        shift: of all log odds.
        flat: whether the likeliest slope was none above the least there is: counts do not confirm the log odds.

    >>> Calibration(0.5, 1.0)([-2.0, 2.0]).tolist()
    [0.0, 2.0]
    """

    slope: float = 1.0
    shift: Any = 0.0
    flat: bool = False

    def __call__(self, z: Any) -> np.ndarray:
        """Map log odds (n,), or log scores (n, K), which are normalised again."""
        z = self.slope * np.asarray(z, float) + self.shift
        return z if z.ndim == 1 else z - np.logaddexp.reduce(z, axis=1, keepdims=True)


def calibrated(z: Any, bags: Bags, which: np.ndarray | None = None, *, slope: str = "auto") -> Calibration:
    """Fit slope and shift of log odds by the counts of bags, best of bags that the learner has not seen.

    Args:
        z: log odds of the rows (n,), or log scores of the classes (n, K).
        bags: all bags, so that one compiled program serves any choice of them.
        which: bags whose counts are looked at, a mask (n_b,); those with a known count by default.
        slope: "free" fits any slope above 0, "capped" one up to 1, "one" leaves it; "auto" is "free" with 20 bags or
            more, else "capped".

    Returns: the map; that which changes nothing where the counts are all of one label, of two.

    Raises: LawfulError for another word; NonFiniteError where the counts are impossible under z.

    >>> rng = np.random.default_rng(0)
    >>> z = rng.normal(size=4000)
    >>> labels = rng.random(4000) < 1 / (1 + np.exp(1 - z))
    >>> found = calibrated(5 * z, Bags.from_labels(labels, np.arange(4000) // 4))
    >>> abs(found.slope - 0.2) < 0.05, abs(found.shift + 1) < 0.2
    (True, True)
    """
    z = np.asarray(checked_logits(z, bags), float)
    used = bags.known if which is None else which & bags.known
    number = max(int(used.sum()), 1)
    if slope == "auto":
        slope = "free" if number >= ENOUGH else "capped"
    if slope not in SLOPES:
        raise LawfulError(f"calibrated: slope={slope!r}. Fix: give 'auto', {', '.join(map(repr, SLOPES))}.")
    finite = np.where(np.isfinite(z), z, 0.0)
    spread = float(np.sqrt(np.mean((finite - finite.mean(axis=0)) ** 2)))
    if spread < ALIKE:
        slope, spread = "one", 1.0
    # A slope times the spread is near one, whatever learner made the log odds: both numbers are then of one size.
    most = STEEPEST if slope == "free" else spread
    least = most if slope == "one" else min(FLATTEST, most / 2)
    limits: list[Any] = [(least, most)]
    limits += [(None, None)] * (1 if z.ndim == 1 else z.shape[1])

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        mapped = Calibration(at[0] / spread, _shift(at[1:], z.ndim))(z)
        told = count_score(mapped, bags, used)
        value = -np.sum(told.log_likelihood) + 0.5 * (at[0] / WIDTH) ** 2
        along = np.sum(told.slope * finite) / spread, *np.atleast_1d(np.sum(told.slope, axis=0))
        return float(value) / number, (np.array([at[0] / WIDTH**2, *[0.0] * (len(at) - 1)]) - along) / number

    start = np.zeros(len(limits))
    start[0] = np.clip(spread, *limits[0])
    if not np.isfinite(loss(start)[0]):
        raise NonFiniteError(
            "calibrated: the counts are impossible under these logits. Fix: look for infinite ones among them."
        )
    if one_label(bags, used):
        return Calibration()
    options = {"maxiter": 100, "ftol": 1e-12, "gtol": 1e-7}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits, options=options)
    flat = slope != "one" and bool(found.x[0] <= least)
    return Calibration(float(found.x[0] / spread), _shift(found.x[1:], z.ndim), flat)


def recalibrated(fitted: Fitted, calibration: Calibration) -> Fitted:
    """Put the map behind a fitted learner."""
    return replace(fitted, logits=partial(_mapped, logits=fitted.logits, calibration=calibration))


def _shift(found: np.ndarray, dimensions: int) -> Any:
    return float(found[0]) if dimensions == 1 else found - found.mean()


def _mapped(X: np.ndarray, logits: Any, calibration: Calibration) -> np.ndarray:
    return calibration(logits(X))
