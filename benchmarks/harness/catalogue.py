"""What is run and what it must reach: variants, contestants and bars of each workload.

Law: a bar is the least value of peer time / our time (so "at most 1.15 times the floor's time" is 1 / 1.15).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks import workloads

OURS, FLOOR = "ours", "floor"


@dataclass(frozen=True)
class Variant:
    """One row block of a workload: its settings, its bars and the floor's own check."""

    name: str
    settings: Mapping[str, Any]
    work_units: float
    bars: Mapping[str, float]
    floor_check: Mapping[str, float] = field(default_factory=dict)  # least floor-to-peer ratio of a valid floor
    quick: bool = False

    def exact(self) -> Mapping[str, float]:
        """Exact answers of the outputs that have one."""
        return workloads.exact_answers(self.settings["model"])


@dataclass(frozen=True)
class Workload:
    """One workload with all its variants."""

    name: str
    title: str
    work_unit: str
    contestants: tuple[str, ...]
    environments: Mapping[str, str]  # contestant -> list of packages; the others use the running interpreter
    variants: tuple[Variant, ...]

    def module(self, contestant: str) -> str:
        """Module of a contestant."""
        return f"benchmarks.contestants.{self.name.lower()}.{contestant}"


def _filter_variant(model: str, particles: int, bars: Mapping[str, float], floor_to_blackjax: float | None) -> Variant:
    return Variant(
        name=f"{model} N={particles}",
        settings={"model": model, "particles": particles},
        work_units=float(particles * workloads.STEPS),
        bars={FLOOR: 1 / 1.15, **bars},
        floor_check={} if floor_to_blackjax is None else {"blackjax": 0.9 * floor_to_blackjax},
        quick=particles <= 1000,
    )


W1 = Workload(
    name="W1",
    title="bootstrap particle filter, T = 1000, systematic resampling when ESS < N/2",
    work_unit="particle-steps",
    contestants=(
        OURS,
        FLOOR,
        "floor_pairs",
        "floor_jax_random",
        "blackjax",
        "blackjax_batched",
        "particles",
        "cuthbert",
    ),
    environments={
        "blackjax": "blackjax",
        "blackjax_batched": "blackjax",
        "particles": "particles",
        "cuthbert": "cuthbert",
    },
    variants=(
        _filter_variant("LG", 1_000, {"blackjax": 1.8, "particles": 4.5, "cuthbert": 6.0}, 40.1 / 18.7),
        _filter_variant("LG", 100_000, {"blackjax": 2.2, "particles": 3.5, "cuthbert": 4.0}, 71.0 / 28.9),
        _filter_variant("SV", 1_000, {"blackjax": 1.8, "particles": 6.0}, 71.6 / 35.9),
        _filter_variant("SV", 100_000, {"blackjax": 1.8, "particles": 6.0}, None),
    ),
)

WORKLOADS: Mapping[str, Workload] = {workload.name: workload for workload in (W1,)}
