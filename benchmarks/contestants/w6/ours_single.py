"""lawful on W6 in single precision."""

from __future__ import annotations

from typing import Any

from benchmarks.contestants.experts import ExpertsRun
from benchmarks.contestants.w6 import ours

PACKAGES = ours.PACKAGES
DTYPE = "float32"


def build(settings: dict[str, Any]) -> ExpertsRun:
    """The contestant for one variant."""
    return ours.build(settings, DTYPE)
