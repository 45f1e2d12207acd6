"""Times to ratios and verdicts, outputs to accuracy.

Laws: a ratio is peer / ours of the minima, beside it the smallest, median and largest ratio of one round. A bar is
met when the ratio of minima or the median ratio reaches it, so that it is missed only where both miss. Of errors times
cost it is met when the least of the ratios (of log evidence, of means) reaches it, and decided when that is known to
15 % or lies two standard errors from the bar. An accuracy test fails beyond three standard errors, widened for few runs
by Student's t: a false alarm in 370 rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

TIE = 1.3
DECISIVE_ROUNDS = 20
VALUE_TOLERANCE = 1e-4  # a sum of thousands of terms in float32
FALSE_ALARM = 2 * stats.norm.sf(3.0)


@dataclass(frozen=True)
class Ratio:
    """peer / ours of one clock, over rounds that both ran."""

    min: float
    low: float
    median: float
    high: float


def ratio(peer: Sequence[float], ours: Sequence[float]) -> Ratio:
    """Ratio of the minima, and the spread of the ratios round by round.

    >>> ratio([3.0, 4.0, 3.5], [1.0, 2.0, 1.0])
    Ratio(min=3.0, low=2.0, median=3.0, high=3.5)
    """
    rounds = [p / o for p, o in zip(peer, ours, strict=True)]
    return Ratio(min(peer) / min(ours), min(rounds), float(np.median(rounds)), max(rounds))


def meets(bar: float, measured: Ratio) -> bool:
    """Whether the bar is met: missed only if the ratio of minima and the median ratio both miss it.

    >>> meets(2.0, Ratio(min=1.9, low=1.0, median=2.1, high=3.0)), meets(2.2, Ratio(1.9, 1.0, 2.1, 3.0))
    (True, False)
    """
    return measured.min >= bar or measured.median >= bar


def verdict(bar: float | None, measured: Ratio) -> str:
    """`win` where the bar is met (without one, where we lead by more than a tie), else `tie` or `short`.

    >>> verdict(2.0, Ratio(2.4, 2.0, 2.3, 3.0)), verdict(2.0, Ratio(1.2, 1.0, 1.1, 1.5))
    ('win', 'tie')
    >>> verdict(None, Ratio(0.5, 0.4, 0.5, 0.6))
    'short'
    """
    if meets(TIE if bar is None else bar, measured):
        return "win"
    return "tie" if 1 / TIE <= measured.min <= TIE else "short"


@dataclass(frozen=True)
class ErrorCost:
    """Mean squared error times CPU seconds, with its relative standard error; or a ratio of two."""

    value: float
    relative_error: float

    def over(self, other: ErrorCost) -> ErrorCost:
        """Divide by another, independent one."""
        return ErrorCost(float(self.value / other.value), float(np.hypot(self.relative_error, other.relative_error)))

    def decides(self, bar: float) -> bool:
        """Tell whether a ratio is known well enough to be compared with a bar.

        >>> ErrorCost(2.0, 0.3).decides(1.3), ErrorCost(4.0, 0.3).decides(1.3), ErrorCost(1.4, 0.14).decides(1.3)
        (False, True, True)
        """
        return bool(self.relative_error <= 0.15 or abs(np.log(self.value / bar)) > 2 * self.relative_error)


def error_costs(accuracy: Mapping[str, Any], cpu_s: float) -> dict[str, ErrorCost]:
    """Squared errors of the log evidence, and of the means where they are told, times CPU seconds.

    The mean square of n normal errors of mean b and variance s^2 has variance (2 s^4 + 4 b^2 s^2) / n.

    >>> found = error_costs({"log_evidence": {"runs": 200, "bias": 0.0, "sd": 1.0}}, 2.0)["log_evidence"]
    >>> round(found.value, 2), round(found.relative_error, 3)
    (1.99, 0.101)
    """
    z = accuracy["log_evidence"]
    n, bias, variance = z["runs"], z["bias"], z["sd"] ** 2
    square = bias**2 + variance * (n - 1) / n
    found = {
        "log_evidence": ErrorCost(square * cpu_s, float(np.sqrt((2 * variance + 4 * bias**2) * variance / n) / square))
    }
    if "mean_rmse" in accuracy:
        found["means"] = ErrorCost(
            accuracy["mean_rmse"] ** 2 * cpu_s, accuracy.get("mean_square_error", (2 / n) ** 0.5)
        )
    return found


def error_verdict(bar: float | None, ratios: Mapping[str, ErrorCost]) -> dict[str, Any]:
    """Read the verdict on the least ratio of errors times cost.

    >>> error_verdict(1.3, {"log_evidence": ErrorCost(9.0, 0.1), "means": ErrorCost(1.2, 0.1)})["verdict"]
    'tie'
    """
    least = min(ratios.values(), key=lambda ratio: ratio.value)
    wanted = TIE if bar is None else bar
    return {
        "verdict": verdict(bar, Ratio(least.value, least.value, least.value, least.value)),
        "bar_met": None if bar is None else bool(least.value >= bar),
        "decided": least.decides(wanted),
    }


def evidence_accuracy(log_evidence: Sequence[float], exact: float) -> dict[str, float | bool]:
    """Bias and spread of log Z-hat, the mean of Z-hat / Z, and the test that this mean is one.

    `ratio` is the plain mean with its standard error, which is honest only while the spread is well below one. The
    test reads the mean of a lognormal instead: e = log Z-hat - log Z is close to normal for a long filter, where
    E[Z-hat / Z] = exp(mean + variance / 2), and the error of that exponent is sqrt(s^2 / n + s^4 / (2 (n - 1))).
    """
    errors = np.asarray(log_evidence, dtype=float) - exact
    n = errors.size
    ratios = np.exp(errors)
    sd = float(errors.std(ddof=1)) if n > 1 else float("nan")
    exponent = float(errors.mean()) + sd**2 / 2
    exponent_error = float(np.sqrt(sd**2 / n + sd**4 / (2 * max(n - 1, 1))))
    return {
        "runs": n,
        "bias": float(errors.mean()),
        "bias_error": sd / n**0.5,
        "sd": sd,
        "ratio": float(ratios.mean()),
        "ratio_error": float(ratios.std(ddof=1)) / n**0.5 if n > 1 else float("nan"),
        "log_mean_ratio": exponent,
        "log_mean_ratio_error": exponent_error,
        "passed": bool(abs(exponent) <= stats.t.isf(FALSE_ALARM / 2, max(n - 1, 1)) * exponent_error),
    }


def value_accuracy(values: Sequence[float], exact: float, absolute: float | None = None) -> dict[str, float | bool]:
    """Largest error of a number that every run should give, relative to the larger of it and one; or the absolute one.

    >>> value_accuracy([2.0, 2.0002], 2.0)["passed"], value_accuracy([3000.0, 3000.1], 3000.0, absolute=0.01)["passed"]
    (True, False)
    """
    error = float(np.max(np.abs(np.asarray(values, dtype=float) - exact)))
    if absolute is None:
        error = error / max(abs(exact), 1.0)
    return {"error": error, "passed": bool(error <= (VALUE_TOLERANCE if absolute is None else absolute))}


def mean_accuracy(estimates: Sequence[float], exact: float) -> dict[str, float]:
    """Bias of an estimate with its standard error."""
    errors = np.asarray(estimates, dtype=float) - exact
    n = errors.size
    spread = float(errors.std(ddof=1)) / n**0.5 if n > 1 else float("nan")
    return {"bias": float(errors.mean()), "bias_error": spread}


def means_accuracy(errors: np.ndarray, allowed: float) -> dict[str, float | bool]:
    """Errors (coordinate, run) of posterior means in posterior sd, and the test that their means are small.

    Chains of a given length keep something of their starts. A coordinate fails beyond `allowed` and three standard
    errors, widened for few runs by Student's t and for many coordinates by their number (Bonferroni).
    """
    coordinates, n = errors.shape
    bias = np.abs(errors.mean(axis=1))
    spread = errors.std(axis=1, ddof=1) / n**0.5 if n > 1 else np.full(coordinates, np.nan)
    worst = int(np.argmax(bias))
    bound = allowed + stats.t.isf(FALSE_ALARM / (2 * coordinates), max(n - 1, 1)) * spread
    return {
        "runs": n,
        "largest": float(bias[worst]),
        "largest_error": float(spread[worst]),
        "largest_of_a_run": float(np.median(np.abs(errors).max(axis=0))),
        "allowed": allowed,
        "passed": bool((bias <= bound).all()),
    }
