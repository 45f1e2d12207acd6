"""lawful on W2 with Hamiltonian moves: `inference.tempered_smc` as it comes, which chooses them for 20 coefficients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import models
from benchmarks.contestants.w2.ours import DTYPE, PACKAGES, run_of
from lawful import inference

__all__ = ["DTYPE", "PACKAGES", "build"]


def build(settings: dict[str, Any]) -> Callable[[int], dict[str, float]]:
    """The contestant for one variant."""
    return run_of(inference.tempered_smc(models.logistic, particles=settings["particles"], keep="last"))
