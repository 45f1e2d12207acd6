"""lawful on W5c as it answers the first hundred queries of a structure: by NumPy, without a compilation."""

from __future__ import annotations

from typing import Any

from benchmarks.contestants.alarm import FEW, AlarmRun
from benchmarks.contestants.w5c.ours import DTYPE, PACKAGES, query

__all__ = ["DTYPE", "PACKAGES", "build"]


def build(settings: dict[str, Any]) -> AlarmRun:
    """The contestant for one variant."""
    return query(compiled=None, queries=FEW)
