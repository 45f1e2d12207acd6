"""The search for maxima beside SciPy's by hand, statsmodels and scikit-learn: value and CPU seconds of each.

The first call of ours and of SciPy's compiles; the shortest of the next three is what is compared.
Run: `python benchmarks/maxima/run.py`, or with names of programs; `--em` goes by expectation maximisation.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.maxima.peers import STARTS, by_library, by_scipy
from benchmarks.maxima.programs import cases
from lawful import inference


def timed(run: Callable[[], float]) -> tuple[float, float]:
    """Give what a function gives, and its CPU seconds."""
    start = time.process_time()
    return run(), time.process_time() - start


def main(names: list[str]) -> None:
    """Measure, and print a table."""
    jax.config.update("jax_enable_x64", True)
    way = "em" if "--em" in names else "lbfgs"
    names = [name for name in names if name != "--em"]
    head = ("program", "ours", "scipy", "library", "first s", "scipy", "ours s", "scipy s", "library s")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for name, case in cases().items():
        if names and name not in names:
            continue
        plan = inference.maximise(case.program, starts=STARTS, enumerate=case.sums, method=way)
        rows = []
        for run in (lambda: float(plan(1, *case.args).optima[0].log_density), by_scipy(case, 1)):
            first = timed(run)[1]
            value, seconds = min((timed(run) for _ in range(3)), key=lambda found: found[1])
            rows.append((value, first, seconds))
        fit = by_library(name, case)
        value, seconds = (float("nan"), float("nan")) if fit is None else timed(fit)
        values = [f"{x:.6f}" for x in (rows[0][0], rows[1][0], value)]
        times = [f"{x:.3f}" for x in (rows[0][1], rows[1][1], rows[0][2], rows[1][2], seconds)]
        print("| " + " | ".join([name, *values, *times]) + " |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
