"""The floor of W3a with one logarithm for eight observations, as the library's density has it."""

from __future__ import annotations

from typing import Any

from benchmarks.contestants.chains import ChainRun
from benchmarks.contestants.w2.floor import product
from benchmarks.contestants.w3a import floor

PACKAGES = floor.PACKAGES
DTYPE = floor.DTYPE


def build(settings: dict[str, Any]) -> ChainRun:
    """The contestant for one variant."""
    return floor.build(settings, product)
