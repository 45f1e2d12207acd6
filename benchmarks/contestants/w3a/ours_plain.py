"""lawful on W3a without the rewrite of Bernoulli sites by log odds: one softplus for every observation."""

from __future__ import annotations

from typing import Any

import lawful.distributions.densities
from benchmarks.contestants.chains import ChainRun
from benchmarks.contestants.w3a import ours

PACKAGES = ours.PACKAGES
DTYPE = ours.DTYPE


def build(settings: dict[str, Any]) -> ChainRun:
    """The contestant for one variant; the rewrite is off in the whole process."""
    lawful.distributions.densities.TOTALS.clear()
    return ours.build(settings)
