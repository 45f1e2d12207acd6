"""lawful on W3b where nothing is summed, `enumerate=[]`: labels from their conditionals, means by NUTS in turn."""

from __future__ import annotations

from typing import Any

from benchmarks.contestants.chains import ChainRun
from benchmarks.contestants.w3b import ours

PACKAGES = ours.PACKAGES
DTYPE = ours.DTYPE


def build(settings: dict[str, Any]) -> ChainRun:
    """The contestant for one variant."""
    return ours.build(settings, enumerate=[])
