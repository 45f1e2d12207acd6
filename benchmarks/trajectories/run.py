"""Mixtures of trajectories, speed and scale: `python benchmarks/trajectories/run.py speed`, or scale, or both.

speed: the full mixture of experts, 47 parameters, on the 500 persons of the demonstration file from 32 starts: the
first call with all that it compiles, a second one, and one with other starts. scale: 50,000 persons of three simulated
classes with gate and growth covariates, one fit from 32 starts. Each has a process of its own, so that nothing is
compiled before and its peak memory is its own.

Bars are those of CPU seconds of all threads for speed, and of wall seconds of two idle cores for scale; the exit status
tells whether all are met. With `--persons` or `--starts` it is a look, and there are no bars. The demonstration file is
reference data: `LAWFUL_DATA` names their folder, and `../shared/data` is looked in otherwise.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.harness.measured import Measured, both, printed, timed
from benchmarks.worker import MIB, peak_bytes
from lawful.models.trajectories import (
    Design,
    TrajectoryFit,
    TrajectoryMixture,
    log_likelihood_by_person,
    log_memberships,
    panel,
    simulate_trajectories,
)

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = 22916.694  # -2LL of the demonstration file by Mplus 8
THREE = Design(
    factors=((100.0, -5.0, -2.6), (100.0, -5.0, -3.8), (92.0, -4.0, -2.0)), shapes=(3.5, 5.5, 4.5),
    explained=(0.13, 0.26, 0.2), gate=((0.3, 0.4, 0.5), (-0.3, -0.5, 0.3)),
)  # fmt: skip
NAMES: dict[str, Any] = {
    "y_var": "Y", "t_var": "T", "records": range(1, 11), "gate": ["gx1", "gx2"], "growth": ["ex1", "ex2"],
}  # fmt: skip


def demonstration(persons: int) -> dict[str, np.ndarray]:
    """Give the columns of the first persons of the demonstration file."""
    folder = Path(os.environ.get("LAWFUL_DATA") or ROOT.parent / "shared" / "data")
    with (folder / "trajectories" / "sim_moe_bls_demo_k2_n500.csv").open() as lines:
        rows = list(csv.DictReader(lines))[:persons]
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def speed(persons: int, starts: int) -> Iterator[Measured]:
    """Fit the demonstration file, compiled and then again."""
    whole, imported = (persons, starts) == WHOLE["speed"], time.process_time()
    data = demonstration(persons)

    def run(seed: int) -> TrajectoryFit:
        return TrajectoryMixture(2, n_starts=starts, seed=seed).fit(data, **NAMES)

    first, again, other = (timed(lambda seed=seed: run(seed)) for seed in (0, 0, 1))
    fit = first.value
    name = f"full mixture, {fit.n_parameters} parameters, {persons} persons, {starts} starts: first call, compiled"
    yield from both(name, first, 30.0 if whole else None)
    yield from both("  second call", again, 5.0 if whole else None)
    yield from both("  other starts", other)
    yield Measured("  imports before", imported)
    away = max(abs(each.value.minus2ll - PUBLISHED) for each in (first, again, other))
    yield Measured("  -2LL", fit.minus2ll, unit="")
    if whole:
        yield Measured("  largest distance from the published one", away, 0.01, "")
    yield Measured("  peak memory", peak_bytes() / MIB, None, "MiB")


def scale(persons: int, starts: int) -> Iterator[Measured]:
    """Fit three classes to many persons."""
    whole, classes = (persons, starts) == WHOLE["scale"], len(THREE.factors)
    with jax.enable_x64(True):
        data, labels = simulate_trajectories(jax.random.key(0), persons, design=THREE)
    found = timed(lambda: TrajectoryMixture(classes, n_starts=starts).fit(data, **NAMES))
    fit: TrajectoryFit = found.value
    peak = peak_bytes() / MIB
    name = f"{persons} persons, {classes} classes, {fit.n_parameters} parameters, {starts} starts: wall time"
    yield Measured(name, found.wall, 60.0 if whole else None)
    yield Measured("  CPU time, all compilation included", found.cpu)
    yield Measured("  peak memory", peak, 4 * 1024 if whole else None, "MiB")
    told, assigned = at_the_truth(fit)
    yield Measured("  -2LL", fit.minus2ll, unit="")
    yield Measured("  less that of the true parameters", fit.minus2ll - told, 0.0 if whole else None, "")
    yield Measured("  persons told apart wrongly", 1 - fit.accuracy(labels), None, "")
    yield Measured("  by the rule with the true parameters", float(np.mean(assigned != labels)), None, "")


def at_the_truth(fit: TrajectoryFit) -> tuple[float, np.ndarray]:
    """Give -2LL and the most probable class of each person, from 1, at the true parameters."""
    read = fit.data
    with jax.enable_x64(True):
        seen = panel(read.y, read.t, read.gate, read.growth)
        at = jax.tree.map(lambda leaf: jnp.asarray(leaf)[..., None], THREE.parameters)
        total = float(log_likelihood_by_person(at, seen, fit.model).sum())
        return -2 * total, 1 + np.argmax(np.asarray(log_memberships(at, seen, fit.model)), axis=0)


PARTS: dict[str, Callable[[int, int], Iterator[Measured]]] = {"speed": speed, "scale": scale}
WHOLE = {"speed": (500, 32), "scale": (50_000, 32)}


def main(given: Sequence[str] | None = None) -> int:
    """Print what was asked for, every part from a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--persons", type=int, help="fewer for a look, without bars")
    parser.add_argument("--starts", type=int, help="fewer for a look, without bars")
    parser.add_argument("--here", action="store_true", help="in this process")
    options = parser.parse_args(given)
    missed = 0
    for part in options.parts or PARTS:
        persons, starts = options.persons or WHOLE[part][0], options.starts or WHOLE[part][1]
        if not options.here:
            sizes = ["--persons", str(persons), "--starts", str(starts)]
            missed |= subprocess.run([sys.executable, __file__, part, "--here", *sizes], check=False).returncode
            continue
        missed |= any(not one.met for one in printed(PARTS[part](persons, starts)))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
