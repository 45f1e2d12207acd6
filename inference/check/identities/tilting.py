"""Tilting (tier 0): the density of a tilted program is the geometric mean of those of the two, choice by choice.

Law: [[tilt(p, q, beta)]](x) = p(x)**(1 - beta) * q(x)**beta where p(x) > 0, for beta below, between and beyond both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...contract import PRESERVES, Contract
from ...transformers.reweigh.tilt import tilt
from ..exact.measure import Trace
from ..exact.reference import enumerate_measure
from ..exact.suite import Instance, instances_of
from ..statistics.report import Report

TOLERANCE = 1e-12
POWERS = (0.0, 0.4, 1.0, 1.7)


@dataclass(frozen=True)
class Tilting:
    """How many programs `tilt` is checked on."""

    programs: int = 4

    name: ClassVar[str] = "tilt"
    contract: ClassVar[Contract] = PRESERVES


def tilting(how: Tilting, tolerance: float = TOLERANCE) -> Report:
    """Check `tilt` on random finite programs, each beside itself with other tables, at every power.

    Args:
        how: how many programs.
        tolerance: largest difference of a mass, relative to the larger of 1 and the mass.
    """
    rng = np.random.default_rng(0)
    worst, count = 0.0, 0
    for one in instances_of(how.programs, structured=0.75, particles=1, max_paths=24):
        other = one.with_tables(one.random_tables(rng))
        for beta in POWERS:
            worst, count = max(worst, _error(one, other, beta)), count + 1
    return Report(
        status="passed" if worst <= tolerance else "failed",
        law="[[tilt(p, q, beta)]] = [[p]]^(1 - beta) [[q]]^beta",
        level="exact",
        measure_error=worst,
        instances=count,
        worst=("difference of a mass", worst),
    )


def _error(one: Instance, other: Instance, beta: float) -> float:
    """Largest difference of a mass for one power."""
    assert one.finite is not None
    program = one.finite.program

    def first(left: Any, right: Any) -> Any:
        return program(left)

    def second(left: Any, right: Any) -> Any:
        return program(right)

    found = _masses(enumerate_measure(tilt(first, second, beta), *one.args, *other.args))
    left, right = (_masses(instance.truth()) for instance in (one, other))
    worst = 0.0
    for choices in found.keys() | left.keys():
        here, there = left.get(choices, 0.0), right.get(choices, 0.0)
        truth = 0.0 if here == 0 else here if beta == 0 else _power(here, there, beta)
        worst = max(worst, abs(found.get(choices, 0.0) - truth) / max(1.0, truth))
    return worst


def _masses(measure: Any) -> dict[Any, float]:
    outcomes: list[tuple[Trace, Any]] = list(measure.traces())
    return {trace.choices: measure[trace] for trace, _ in outcomes}


def _power(here: float, there: float, beta: float) -> float:
    """The geometric mean of two masses; a mass of 0 is -inf on the log scale."""
    with np.errstate(divide="ignore"):
        return float(np.exp((1 - beta) * np.log(here) + beta * np.log(there)))
