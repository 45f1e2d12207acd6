"""The command line: choose workloads, run them, write the results.

Law: results/ is written by whole runs alone (all variants, all contestants, enough rounds to decide a bar).
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import records, report
from benchmarks.harness.catalogue import WORKLOADS
from benchmarks.harness.environments import ignored_folder
from benchmarks.harness.rounds import measure, starter
from benchmarks.harness.statistics import DECISIVE_ROUNDS
from benchmarks.harness.workload import Workload

BENCHMARKS = Path(__file__).resolve().parents[1]
RESULTS, PARTIAL = BENCHMARKS / "results", BENCHMARKS / ".partial"


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description="Time lawful side by side with its peers.")
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)}; all if none")
    parser.add_argument("--contestants", help="comma-separated; all if not given")
    parser.add_argument("--variants", help="comma-separated parts of variant names, such as 'LG,N=1000'")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (20, or 7 with --quick); a bar needs 20")
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--cores", type=int, help="pin every worker to so many cores")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for one run before it counts as unfinished")
    parser.add_argument("--out", type=Path, help="folder of the results; .partial/ for a part of a run")
    options = parser.parse_args(given)
    unknown = set(options.workloads) - set(WORKLOADS)
    if unknown:
        parser.error(f"unknown workload {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    if options.cores and not hasattr(os, "sched_setaffinity"):
        parser.error("--cores needs a system that can pin a process to cores")
    options.rounds = options.rounds or (7 if options.quick else DECISIVE_ROUNDS)
    part = options.quick or options.contestants or options.variants or options.rounds < DECISIVE_ROUNDS
    options.out = options.out or (PARTIAL if part else RESULTS)
    return options


def run_workload(workload: Workload, options: argparse.Namespace) -> list[dict[str, Any]]:
    """All chosen variants of one workload."""
    wanted = options.contestants.split(",") if options.contestants else list(workload.contestants)
    unknown = set(wanted) - set(workload.contestants)
    if unknown:
        raise SystemExit(f"{workload.name} has no contestant {', '.join(sorted(unknown))}: {workload.contestants}")
    parts = options.variants.split(",") if options.variants else [""]
    part = options.out == PARTIAL
    entries: list[dict[str, Any]] = []
    for variant in workload.variants:
        if (options.quick and not variant.quick) or not any(part in variant.name.split() + [""] for part in parts):
            continue
        print(f"{workload.name} {variant.name}: {', '.join(wanted)}", flush=True)
        start = starter(workload, variant, options.limit, options.cores)
        measurements = measure(wanted, start, options.rounds, variant.by_size, None if part else variant.error_runs)
        found = records.records(workload, variant, measurements, records.usable_cores(options.cores))
        print(report.variant_section(found), end="\n\n", flush=True)
        entries += found
    return entries


def stored(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of earlier runs, by workload."""
    files = {name: folder / f"{name}.json" for name in WORKLOADS}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}


def main(given: Sequence[str] | None = None) -> None:
    """Run and write `<workload>.json` and RESULTS.md."""
    options = arguments(given)
    ignored_folder(PARTIAL) if options.out == PARTIAL else options.out.mkdir(parents=True, exist_ok=True)
    for name in options.workloads or WORKLOADS:
        entries = run_workload(WORKLOADS[name], options)
        (options.out / f"{name}.json").write_text(json.dumps(entries, indent=1) + "\n")
        (options.out / "RESULTS.md").write_text(report.markdown(stored(options.out)))
