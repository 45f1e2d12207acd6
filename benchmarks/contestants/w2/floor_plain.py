"""The floor of W2 with one softplus for every observation: what the product of eight factors is worth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.contestants.w2 import floor

PACKAGES = floor.PACKAGES
DTYPE = floor.DTYPE


def build(settings: dict[str, Any]) -> Callable[[int], dict[str, Any]]:
    """The contestant for one variant."""
    return floor.build(settings, floor.plain)
