"""BlackJAX on W2 with Hamiltonian moves of every particle, as its settings say."""

from __future__ import annotations

from typing import Any

from benchmarks.contestants.w2.blackjax import DTYPE, PACKAGES, Run, tempered_program

__all__ = ["DTYPE", "PACKAGES", "build"]


def build(settings: dict[str, Any]) -> Run:
    """The contestant for one variant."""
    return Run(tempered_program(settings["particles"], settings["steps"], None, settings["leapfrogs"]))
