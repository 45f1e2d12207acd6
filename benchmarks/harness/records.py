"""Measurements to the records of results/<workload>.json.

Law: a record holds everything its row of the tables shows, and no name of a machine or path on it.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import statistics
from benchmarks.harness.rounds import Measurement
from benchmarks.harness.workload import FLOOR, OURS, Variant, Workload

ROOT = Path(__file__).resolve().parents[2]
CLOCKS = ("cpu_s", "wall_s")


def commit() -> str:
    """Short name of the commit that was measured, with + if the tree differs from it."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)

    head = git("rev-parse", "--short", "HEAD")
    if head.returncode:
        return "uncommitted"
    changed = git("status", "--porcelain", "--", ".", ":(exclude)benchmarks/results").stdout.strip()
    return head.stdout.strip() + ("+" if changed else "")


def usable_cores(cores: int | None) -> int:
    """Cores that a worker may use."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, available) if cores else available


def record(
    workload: Workload, variant: Variant, measurement: Measurement, ours: Measurement | None, cores: int
) -> dict[str, Any]:
    """One contestant in one variant."""
    entry: dict[str, Any] = {
        "workload": workload.name,
        "variant": variant.name,
        "contestant": measurement.contestant,
        "settings": dict(variant.settings),
        "architecture": platform.machine(),
        "cores": cores,
        "commit": commit(),
        "versions": measurement.description.get("versions", {}),
        "dtype": measurement.description.get("dtype"),
        "failure": measurement.failure,
        "bar": variant.bars.get(measurement.contestant),
        "limit_s": variant.limit_s if measurement.contestant == OURS else None,
        "published": dict(variant.published),
        "error_bars": dict(variant.error_bars) if measurement.contestant == OURS else {},
    }
    if not measurement.complete or measurement.first is None:
        return entry
    runs, first = measurement.runs, measurement.first
    cpu = [run["cpu_s"] for run in runs]
    wall = [run["wall_s"] for run in runs]
    peak = max(run["peak_mb"] for run in [first, *runs])
    work_units = measurement.work_units(variant.work_units)
    entry |= {
        "rounds": len(runs),
        "first_cpu_s": first["cpu_s"],
        "first_wall_s": first["wall_s"],
        **{stage: first["stages"].get(stage) for stage in ("trace_s", "lower_s", "compile_s")},
        "cpu_s": cpu,
        "wall_s": wall,
        "cpu_min_s": min(cpu),
        "cpu_median_s": float(np.median(cpu)),
        "wall_min_s": min(wall),
        "wall_median_s": float(np.median(wall)),
        "work_units": work_units,
        "work_per_cpu_s": work_units / min(cpu),
        "work_per_wall_s": work_units / min(wall),
        "accuracy": (told := accuracy(variant, measurement)),
        "error_cost": None
        if variant.error_runs is None
        else {name: asdict(cost) for name, cost in error_costs(told, cpu).items()},
        "peak_mb": peak,
        "above_bare_mb": peak - measurement.description["bare_mb"],
    }
    if ours is not None and ours.complete and measurement.contestant != OURS:
        entry |= against_ours(variant, measurement, ours)
    return entry


def accuracy(variant: Variant, measurement: Measurement) -> dict[str, Any]:
    """Errors of the outputs against the exact answers; those told in posterior scales also together, as one rmse."""
    exact = variant.exact()
    if variant.tolerances:
        return {
            name: statistics.value_accuracy(measurement.outputs(name), exact[name], tolerance)
            for name, tolerance in variant.tolerances.items()
            if measurement.tells(name)
        }
    if "log_density" in exact:  # not estimates: every run gives the number itself
        return {name: statistics.value_accuracy(measurement.outputs(name), answer) for name, answer in exact.items()}
    scales = variant.scales()
    if variant.start_error is not None:
        errors = {name: (np.asarray(measurement.outputs(name)) - exact[name]) / scale for name, scale in scales.items()}
        size = statistics.mean_accuracy(measurement.outputs("ess"), 0.0)
        return {
            **{name: statistics.mean_accuracy(measurement.outputs(name), answer) for name, answer in exact.items()},
            "means": statistics.means_accuracy(np.array(list(errors.values())), variant.start_error),
            "ess": {"mean": size["bias"], "error": size["bias_error"]},
        }
    found: dict[str, Any] = {
        name: statistics.evidence_accuracy(measurement.outputs(name), answer)
        if name == "log_evidence"
        else statistics.mean_accuracy(measurement.outputs(name), answer)
        for name, answer in exact.items()
    }
    if variant.rmse_limit is not None:
        errors = np.asarray(measurement.outputs("log_evidence")) - exact["log_evidence"]
        rmse = float(np.sqrt(np.mean(np.square(errors))))
        found["log_evidence"] |= {"rmse": rmse, "passed": rmse <= variant.rmse_limit}
    if scales:
        errors = [(np.asarray(measurement.outputs(name)) - exact[name]) / scale for name, scale in scales.items()]
        of_runs = np.mean(np.square(errors), axis=0)
        found["mean_rmse"] = float(np.sqrt(np.mean(of_runs)))
        if len(of_runs) > 1:
            found["mean_square_error"] = float(np.std(of_runs, ddof=1) / len(of_runs) ** 0.5 / np.mean(of_runs))
        found["temperatures"] = float(np.mean(measurement.outputs("temperatures")))
    return found


def against_ours(variant: Variant, measurement: Measurement, ours: Measurement) -> dict[str, Any]:
    """Ratios of both clocks for equal work; the bar is read on CPU seconds, or on squared errors times these."""
    return against(variant, measurement, ours, variant.bars.get(measurement.contestant))


def against(variant: Variant, peer: Measurement, ours: Measurement, bar: float | None) -> dict[str, Any]:
    """Ratios of a peer to one line of ours, and its bar."""
    ratios = {clock: statistics.ratio(*(m.costs(clock, variant.work_units) for m in (peer, ours))) for clock in CLOCKS}
    found = {"ratio_to_ours": asdict(ratios["cpu_s"]), "wall_ratio_to_ours": asdict(ratios["wall_s"])}
    if variant.error_runs is not None:
        costs = (error_costs(accuracy(variant, m), [run["cpu_s"] for run in m.runs]) for m in (peer, ours))
        return found | by_errors(bar, *costs)
    return found | {
        "verdict": statistics.verdict(bar, ratios["cpu_s"]),
        "bar_met": None if bar is None else statistics.meets(bar, ratios["cpu_s"]),
        "decided": len(peer.runs) >= statistics.DECISIVE_ROUNDS,
    }


def error_costs(told: Mapping[str, Any], cpu_s: Sequence[float]) -> dict[str, statistics.ErrorCost]:
    """Squared errors times the median of the CPU seconds of the rounds."""
    return statistics.error_costs(told, float(np.median(cpu_s)))


def by_errors(
    bar: float | None, peer: Mapping[str, statistics.ErrorCost], ours: Mapping[str, statistics.ErrorCost]
) -> dict[str, Any]:
    """Ratios of errors times cost, and the verdict that they give."""
    ratios = {name: peer[name].over(ours[name]) for name in ours}
    return {
        "error_cost_to_ours": {name: asdict(ratio) for name, ratio in ratios.items()},
        **statistics.error_verdict(bar, ratios),
    }


def floor_check(variant: Variant, measurements: Mapping[str, Measurement]) -> dict[str, Any]:
    """Whether the floor reaches nine tenths of its published ratio to a peer; a row without that is void."""
    floor = measurements.get(FLOOR)
    found: dict[str, Any] = {}
    for peer, least in variant.floor_check.items():
        other = measurements.get(peer)
        if floor is None or other is None or not (floor.complete and other.complete):
            continue
        measured = statistics.ratio(*(m.costs("cpu_s", variant.work_units) for m in (other, floor)))
        found[peer] = {"least": least, **asdict(measured), "valid": statistics.meets(least, measured)}
    return found


def line_bars(variant: Variant, name: str, measurements: Mapping[str, Measurement]) -> list[dict[str, Any]]:
    """Bars that stand for a further line of ours: one record a peer."""
    line, found = measurements[name], []
    for peer, bar in variant.lines.get(name, {}).items():
        other = measurements.get(peer)
        if other is not None and line.complete and other.complete:
            found.append({"peer": peer, "bar": bar, **against(variant, other, line, bar)})
    return found


def first_bars(variant: Variant, name: str, measurements: Mapping[str, Measurement]) -> list[dict[str, Any]]:
    """Bars of the first call of a line of ours, in CPU seconds: one record a peer."""
    line, found = measurements[name], []
    for peer, bar in variant.first_bars.get(name, {}).items():
        other = measurements.get(peer)
        if other is not None and other.first is not None and line.first is not None:
            measured = other.first["cpu_s"] / line.first["cpu_s"]
            found.append({"peer": peer, "bar": bar, "ratio_to_ours": measured, "bar_met": measured >= bar})
    return found


def records(
    workload: Workload, variant: Variant, measurements: Mapping[str, Measurement], cores: int
) -> list[dict[str, Any]]:
    """All contestants of one variant; the floor's record carries its check, a further line of ours its own bars."""
    ours = measurements.get(OURS)
    entries = [record(workload, variant, m, ours, cores) for m in measurements.values()]
    for entry in entries:
        if entry["contestant"] == FLOOR:
            entry["floor_check"] = floor_check(variant, measurements)
        if entry["contestant"] in variant.lines:
            entry["line_bars"] = line_bars(variant, entry["contestant"], measurements)
        if entry["contestant"] in variant.first_bars:
            entry["first_bars"] = first_bars(variant, entry["contestant"], measurements)
    return entries
