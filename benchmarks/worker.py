"""One contestant in its own process: build and compile once, then one run at each request.

    python -m benchmarks.worker benchmarks.contestants.w1.floor '{"model": "LG", "particles": 1000}' 0

The last argument pins the process to that many cores; 0 leaves it all it may use.
Law: the clocks enclose `run(i)` alone; where `run` has a function `told`, it makes named scalars of the result
afterwards. CPU seconds are user + system of all threads of the process, and of processes that it started and that have
ended, as compilers. Requests and answers are JSON, one a line;
whatever a library prints goes to the error stream instead.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

MIB = 2**20


def peak_bytes() -> int:
    """Largest resident memory of this process so far.

    Linux keeps it in /proc for the running program alone; `getrusage` would count what the parent held at the fork.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of Python and of the named distributions."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


def plain(outputs: Mapping[str, Any]) -> dict[str, float]:
    """Scalars of any array library as Python floats."""
    return {name: float(value) for name, value in outputs.items()}


def cpu_seconds() -> float:
    """User and system seconds of this process, and of those that it started and waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def measured(run: Any, i: int) -> dict[str, Any]:
    """One run with key i under both clocks."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    outputs = run(i)
    cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
    peak = peak_bytes() / MIB
    outputs = getattr(run, "told", plain)(outputs)
    return {"cpu_s": cpu, "wall_s": wall, "peak_mb": peak, "outputs": plain(outputs)}


def serve(module: str, settings: dict[str, Any], requests: TextIO, answers: TextIO) -> None:
    """Build the contestant, say that it is ready, and answer requests until the stream ends."""

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        contestant = importlib.import_module(module)
        run = contestant.build(settings)
        answer(
            {
                "versions": versions(contestant.PACKAGES),
                "dtype": getattr(run, "dtype", contestant.DTYPE),
                "bare_mb": peak_bytes() / MIB,
                "work_units": getattr(run, "work_units", None),
            }
        )
        for line in requests:
            record = measured(run, json.loads(line)["run"])
            told = {name: dict(getattr(run, name, {})) for name in ("stages", "notes")}  # notes are words about the run
            answer(record | told)
    except Exception as error:  # the driver shows a failed contestant, with its reason, instead of stopping
        answer({"error": f"{type(error).__name__}: {error}".strip()})


def main() -> None:
    """Serve on the standard streams, with the output stream kept for answers."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if cores := int(sys.argv[3]):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    serve(sys.argv[1], json.loads(sys.argv[2]), sys.stdin, answers)


if __name__ == "__main__":
    main()
