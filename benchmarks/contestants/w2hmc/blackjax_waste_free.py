"""BlackJAX on W2 with Hamiltonian moves by its waste-free update strategy, in as many chains as ours has."""

from __future__ import annotations

from typing import Any

from benchmarks.contestants.w2.blackjax import DTYPE, PACKAGES, Run, tempered_program

__all__ = ["DTYPE", "PACKAGES", "build"]
CHAINS = 10


def build(settings: dict[str, Any]) -> Run:
    """The contestant for one variant."""
    return Run(tempered_program(settings["particles"], None, CHAINS, settings["leapfrogs"]))
