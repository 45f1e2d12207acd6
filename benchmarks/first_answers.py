"""`python -m benchmarks.first_answers [PROGRAM ...] [--runs 3]`: CPU seconds from a fresh process to a printed table.

Three programs by `inference.infer` without options: the eight schools, a regression of 1,000 rows and 10 columns, and
a local level of 100 steps. Each run is a process with an empty home, so that nothing is cached; its clock is that of
the process, user and system of all threads, and begins before the first import. A line gives the median of the runs
and of their parts: imports; the plan; the run, of which what XLA compiled; and the table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

PROGRAMS = ("schools", "regression", "level")
AIMS = {"schools": 6.0, "regression": 6.0, "level": 4.0}  # CPU seconds
PARTS = ("imports", "plan", "run", "of it compiling", "table", "all")


def program_of(name: str) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Give a program and its data."""
    import jax.numpy as jnp
    import numpy as np
    import numpyro.distributions as dist

    from lawful import plate, sample, scan

    rng = np.random.default_rng(0)

    def schools(effect: Any, sd: Any) -> None:
        mu = sample("mu", dist.Normal(0.0, 5.0))
        tau = sample("tau", dist.HalfCauchy(5.0))
        with plate("school", 8):
            theta = sample("theta", dist.Normal(mu, tau))
            sample("effect", dist.Normal(theta, sd), obs=effect)

    def regression(x: Any, y: Any) -> None:
        intercept = sample("intercept", dist.Normal(0.0, 5.0))
        slopes = sample("slopes", dist.Normal(0.0, 2.0).expand([10]).to_event(1))
        noise = sample("noise", dist.HalfNormal(2.0))
        with plate("row", len(y)):
            sample("y", dist.Normal(intercept + x @ slopes, noise), obs=y)

    def level(y: Any) -> None:
        drift, noise = sample("drift", dist.HalfNormal(2.0)), sample("noise", dist.HalfNormal(2.0))

        def step(x: Any, y: Any) -> tuple[Any, None]:
            x = sample("x", dist.Normal(x, drift))
            sample("y", dist.Normal(x, noise), obs=y)
            return x, None

        scan(step, jnp.asarray(0.0), y)

    if name == "schools":
        effect, sd = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0], [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]
        return schools, (np.array(effect), np.array(sd))
    if name == "regression":
        x = rng.normal(size=(1000, 10))
        return regression, (x, x @ rng.normal(size=10) + rng.normal(size=1000))
    return level, (np.cumsum(rng.normal(size=100)) + rng.normal(size=100),)


def answered(name: str) -> dict[str, Any]:
    """Run in this process, which has imported nothing yet."""
    begun = time.process_time()
    from lawful import inference

    model, data = program_of(name)
    imported = time.process_time()
    plan = inference.infer(model).plan(*data)
    planned = time.process_time()
    result = plan(0)
    ok = result.ok  # a user reads the verdict first
    ran = time.process_time()
    print(result, result.summary(), sep="\n", file=sys.stderr)
    ended = time.process_time()
    seconds = (imported - begun, planned - imported, ran - planned, result.run["compile_seconds"], ended - ran, ended)
    return {"ok": ok, "tried": result.run["tried"], **dict(zip(PARTS, seconds, strict=True))}


def measured(name: str) -> dict[str, Any]:
    """Run in a fresh process with an empty home."""
    with tempfile.TemporaryDirectory() as home:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("JAX_", "XLA_"))}
        own = {**kept, "HOME": home, "XDG_CACHE_HOME": home, "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, "-m", "benchmarks.first_answers", "--inside", name]
        root = Path(__file__).resolve().parents[1]
        ran = subprocess.run(command, cwd=root, env=own, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit status is 1 where an answer is not ok."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_answers", description=__doc__)
    parser.add_argument("programs", nargs="*", help=f"of {PROGRAMS}; default: all")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--inside", choices=PROGRAMS, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.inside:
        print(json.dumps(answered(chosen.inside)))
        return 0
    print(f"{'program':12}{'ok':5}" + "".join(f"{part:>17}" for part in PARTS) + f"{'aim':>6}  what was tried")
    sound = True
    for name in chosen.programs or PROGRAMS:
        runs = [measured(name) for _ in range(chosen.runs)]
        sound &= all(run["ok"] for run in runs)
        told = "".join(f"{median(run[part] for run in runs):17.1f}" for part in PARTS)
        verdict = "yes" if all(run["ok"] for run in runs) else "NO"
        print(f"{name:12}{verdict:5}{told}{AIMS[name]:6.0f}  {'; '.join(runs[0]['tried'])}", flush=True)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
