"""Run one variant: first calls, then interleaved rounds.

Law: each contestant is one process; one process works at a time; round r asks every contestant for one run with key r,
in an order rotated by r. Runs that tell errors alone follow, with the next keys, contestant by contestant. A contestant
that fails leaves the rest untouched.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness.environments import NotAvailableError, interpreter
from benchmarks.harness.process import ContestantError, Worker
from benchmarks.harness.workload import Variant, Workload

Start = Callable[[str], Worker]
LONGEST_S = 180.0  # wall seconds of a contestant after the rounds


@dataclass
class Measurement:
    """What one contestant did in one variant."""

    contestant: str
    by_size: bool = False  # whether the work of a run is its effective sample size, the median over the rounds
    description: dict[str, Any] = field(default_factory=dict)
    first: dict[str, Any] | None = None
    runs: list[dict[str, Any]] = field(default_factory=list)
    later: list[dict[str, Any]] = field(
        default_factory=list
    )  # after the rounds: their outputs count, their times do not
    failure: str | None = None

    @property
    def complete(self) -> bool:
        """Whether it answered every request."""
        return self.failure is None

    def work_units(self, usual: float) -> float:
        """Work of one run: what the contestant says, or what is usual in the variant."""
        if self.by_size:
            return statistics.median(run["outputs"]["ess"] for run in self.runs)
        return float(self.description.get("work_units") or usual)

    def costs(self, clock: str, usual: float) -> list[float]:
        """Seconds of every round for a usual run's work."""
        share = usual / self.work_units(usual)
        return [run[clock] * share for run in self.runs]

    def tells(self, name: str) -> bool:
        """Whether a run gives an output."""
        return self.first is not None and name in self.first["outputs"]

    def outputs(self, name: str) -> list[float]:
        """One output of the first call, of every round and of later runs, two-float sums added up in float64."""
        records = ([self.first] if self.first else []) + self.runs + self.later
        return [r["outputs"][name] + r["outputs"].get(f"{name}_remainder", 0.0) for r in records]


def starter(workload: Workload, variant: Variant, limit_s: float, cores: int | None) -> Start:
    """How to start the worker of a contestant."""

    def start(contestant: str) -> Worker:
        python = interpreter(workload.environments.get(contestant))
        return Worker(python, workload.module(contestant), variant.settings, limit_s, cores)

    return start


def measure(
    contestants: Sequence[str], start: Start, rounds: int, by_size: bool = False, error_runs: int | None = None
) -> Mapping[str, Measurement]:
    """First call of each contestant, then the rounds, then runs until there are `error_runs` or the time is up."""
    measurements = {name: Measurement(name, by_size) for name in contestants}
    workers: dict[str, Worker] = {}

    def attempt(name: str, action: Callable[[Measurement], None]) -> None:
        measurement = measurements[name]
        try:
            action(measurement)
        except NotAvailableError as error:
            measurement.failure = f"not available: {error}"
        except ContestantError as error:
            measurement.failure = f"failed: {error}"
        if measurement.failure and name in workers:
            workers.pop(name).close()

    def begin(measurement: Measurement) -> None:
        workers[measurement.contestant] = worker = start(measurement.contestant)
        measurement.description = worker.description
        measurement.first = worker.run(0)

    try:
        for name in contestants:
            attempt(name, begin)
        for i in range(1, rounds + 1):
            alive = list(workers)
            shift = i % max(len(alive), 1)
            for name in alive[shift:] + alive[:shift]:
                attempt(name, lambda m: m.runs.append(workers[m.contestant].run(i)))
        for name in list(workers):
            until = time.monotonic() + LONGEST_S
            for i in range(rounds + 1, error_runs or 0):
                if name in workers and time.monotonic() < until:
                    attempt(name, lambda m: m.later.append(workers[m.contestant].run(i)))
    finally:
        for worker in workers.values():
            worker.close()
    return measurements
