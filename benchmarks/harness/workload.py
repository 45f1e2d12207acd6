"""What a workload is: its variants with their settings, contestants and bars.

Law: a bar is the least value of peer cost / our cost (so "at most 1.15 times the floor's" is 1 / 1.15). The cost is
time for equal work; of samplers of populations it is squared error times time, each with the work it chooses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks import monad_bayes, workloads

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
    rmse_limit: float | None = None  # of log Z, for samplers that adapt: they are consistent, not unbiased
    limit_s: float | None = None  # absolute bar: most CPU seconds of one run of ours
    lines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # further lines of ours, with their bars
    first_bars: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # the same of first calls, of any line
    by_size: bool = False  # whether work is counted in effective draws
    error_runs: int | None = None  # runs that tell squared errors, by which verdicts are read then, times CPU seconds
    published: Mapping[str, float] = field(default_factory=dict)  # seconds of one run that others have published
    tolerances: Mapping[str, float] = field(default_factory=dict)  # of fixed values: largest error of a right answer
    error_bars: Mapping[str, float] = field(default_factory=dict)  # of fixed values: largest error of ours
    start_error: float | None = None  # of chains: most that their starts leave in a posterior mean, in posterior sd

    def exact(self) -> Mapping[str, float]:
        """Exact answers of the outputs that have one."""
        if "task" in self.settings:
            found = workloads.linear_answers(self.settings["steps"])["log_likelihood"]
            return {"log_likelihood": found, "marginal_error": 0.0, "gradient_error": 0.0}
        if "side" in self.settings or "pairs" in self.settings:
            return {"marginal_error": 0.0}
        if "latents" in self.settings:
            return workloads.chain_answers(self.settings["latents"])
        if "algorithm" in self.settings:
            return monad_bayes.exact_answers(**self.settings)
        if self.start_error is not None:
            return workloads.posterior_means(self.settings["model"])
        return workloads.exact_answers(self.settings["model"])

    def scales(self) -> Mapping[str, float]:
        """Posterior standard deviations of the outputs whose errors are told in them."""
        return workloads.posterior_scales(self.settings["model"])


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
