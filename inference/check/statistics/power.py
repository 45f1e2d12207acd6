"""Power: the smallest violation that a check finds, and the draws that a violation needs.

Law: `min_samples(check, min_detectable(check, n, ...), ...)` is n. The statistic is a two-sided z; m statistics share
alpha by Bonferroni, and one of them carries the effect. The others are left out of the account: they can only add
failures and further stages, so the stated power is a lower bound, and so are the expected draws.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

from lawful.errors import LawfulError

from .sequential import SequentialRule

_NORMAL = NormalDist()

# The shift of the standardised statistic, in sd of one draw, per unit of the effect. A posterior that is off by b of
# its sd moves the normalised rank by b / (2 sqrt(pi)), and a uniform rank has sd 1 / sqrt(12).
SCALES = {"z": 1.0, "mean_rank": math.sqrt(3 / math.pi)}


class Behaviour(NamedTuple):
    """What a rule does at one effect: its probability of failing, and the draws that it expects to use."""

    fails: float
    draws: float


def z_critical(p_value: float, m: int = 1) -> float:
    """Return the |z| whose two-sided p-value, times m, is the given one.

    >>> round(z_critical(1e-6), 4), round(z_critical(1e-6, m=20), 4)
    (4.8916, 5.4513)
    """
    return -_NORMAL.inv_cdf(p_value / m / 2) if p_value / m < 1 else 0.0


def z_p_value(z: float, m: int = 1) -> float:
    """Return the two-sided p-value of the largest of m statistics.

    >>> round(z_p_value(1.959964), 6)
    0.05
    """
    return min(1.0, m * math.erfc(abs(z) / math.sqrt(2)))


def behaviour(rule: SequentialRule, effect: float, m: int = 1) -> Behaviour:
    """Follow a rule through its stages when the statistic's mean is off by `effect` sd.

    >>> behaviour(SequentialRule(alpha=1e-6, stages=5), effect=0.0).draws
    11006.6...
    """
    reached, fails, draws = 1.0, 0.0, 0.0
    for n, fail_at, pass_above in zip(rule.draws, rule.fail_at, rule.pass_above, strict=True):
        draws += reached * n
        failing = _beyond(z_critical(fail_at, m), effect * math.sqrt(n))
        undecided = max(_beyond(z_critical(pass_above, m), effect * math.sqrt(n)) - failing, 0.0)
        fails += reached * failing
        reached *= undecided
    return Behaviour(fails, draws)


def min_detectable(
    check: str, n: int, alpha: float, power: float = 0.99, m: int = 1, stages: int = 1, growth: int = 2
) -> float:
    """Return the smallest effect that a check finds with the given probability.

    Args:
        check: "z" (effect in sd of the statistic) or "mean_rank" (rank tests and simulation-based calibration; effect
            in posterior sd).
        n: draws of the first stage.
        alpha: false-alarm rate.
        power: probability of finding the effect.
        m: number of statistics that share alpha.
        stages: stages of the sequential rule; 1 is a single test.
        growth: draws of a stage as a multiple of the stage before.

    >>> round(min_detectable("z", 10_000, 1e-6, stages=5), 3), round(min_detectable("mean_rank", 1_000, 1e-6), 2)
    (0.043, 0.23)
    """
    rule = SequentialRule(alpha, stages, n, growth)
    return detectable_shift(rule, power, m) / _scale(check)


@functools.lru_cache(maxsize=1024)
def detectable_shift(rule: SequentialRule, power: float, m: int) -> float:
    """Return the smallest effect, in sd, at which a rule fails with the given probability."""
    return smallest(lambda effect: behaviour(rule, effect, m).fails >= power)


def min_samples(
    check: str, effect: float, alpha: float, power: float = 0.99, m: int = 1, stages: int = 1, growth: int = 2
) -> int:
    """Return the draws of the first stage that find an effect with the given probability.

    Args: as for `min_detectable`; `effect` in the unit of the check.

    >>> min_samples("z", 0.10, 1e-6), min_samples("z", 0.01, 1e-6, m=200)
    (5210, 668065)
    """
    if not effect > 0:
        raise LawfulError(f"min_samples: expected an effect above 0, got {effect}.", effect=effect)
    shift = effect * _scale(check)

    def found(n: float) -> bool:
        return behaviour(SequentialRule(alpha, stages, max(1, math.ceil(n)), growth), shift, m).fails >= power

    n = max(1, math.ceil(smallest(found)))
    return n - 1 if n > 1 and found(float(n - 1)) else n


def _scale(check: str) -> float:
    if check not in SCALES:
        raise LawfulError(f"power: unknown check {check!r}; expected one of {', '.join(SCALES)}.", check=check)
    return SCALES[check]


def _beyond(critical: float, shift: float) -> float:
    return _NORMAL.cdf(shift - critical) + _NORMAL.cdf(-shift - critical)


def smallest(holds: Callable[[float], bool]) -> float:
    """Bisect for the smallest positive number at which a monotone condition holds."""
    low, high = 0.0, 1.0
    while not holds(high):
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
