"""What driving a run in chunks costs beside one compiled call, and how much host memory a run of 10^6 draws takes.

    python benchmarks/running.py            # all
    python benchmarks/running.py overhead   # CPU of 64 chains x 10 dimensions, random walk, chunked against whole
    python benchmarks/running.py store      # the same, with the draws written to a store
    python benchmarks/running.py memory     # peak memory of 10^6 draws, streamed and by plan.iterate, against 10^5

CPU seconds are user + system of all threads of the process. The calls take turns, round after round; a ratio is that of
two calls of one round.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import lawful
from benchmarks.worker import MIB, peak_bytes
from lawful import inference
from lawful.inference import RunOptions, kernels

CHAINS, DIMENSION, DRAWS = 64, 10, 20_000
ROUNDS, STREAMED = 31, 5  # calls of each way; a call with a store takes longer


def model():
    """Ten independent normals."""
    lawful.sample("x", dist.Normal(jnp.zeros(DIMENSION), 1.0).to_event(1))


def plan(chains: int, draws: int, run: RunOptions | None):
    """Build the chains."""
    return inference.mcmc(model, kernels.random_walk(0.5), chains=chains, warmup=0, draws=draws, run=run)


def timed(own, number: int) -> tuple[float, dict]:
    """Give CPU seconds of a call, and what its result says of the run."""
    start = time.process_time()
    result = own(jax.random.key(number))
    return time.process_time() - start, dict(result.run)


def told(name: str, whole: list[float], other: list[float]) -> None:
    """Print CPU seconds of two ways and their ratio."""
    ratios = sorted(b / a for a, b in zip(whole, other, strict=True))
    print(
        f"{name}: CPU whole {np.median(whole):.3f} s, chunked {np.median(other):.3f} s (medians of {len(whole)}); "
        f"ratio of minima {min(other) / min(whole):.3f}, of rounds {ratios[0]:.3f} to {ratios[-1]:.3f}, "
        f"median {np.median(ratios):.3f}"
    )


def overhead() -> None:
    """Compare CPU seconds of a call in chunks with those of one compiled call, with compiling and without."""
    first: dict[str, list[float]] = {"whole": [], "chunked": []}
    later: dict[str, list[float]] = {"whole": [], "chunked": []}
    for _ in range(3):
        plans = {"whole": plan(CHAINS, DRAWS, None), "chunked": plan(CHAINS, DRAWS, RunOptions())}
        for name, own in plans.items():
            first[name].append(timed(own, 0)[0])
    for number in range(ROUNDS):
        for name, own in plans.items():
            seconds, run = timed(own, number)
            later[name].append(seconds)
    print(f"{CHAINS} chains x {DIMENSION}, {DRAWS} draws, {run['chunks']} chunks of automatic length")
    told("compiled before", later["whole"], later["chunked"])
    told("with tracing and compiling", first["whole"], first["chunked"])
    print(f"driver: {run['driver_ms']:.2f} ms a chunk outside the compiled steps (wall)")


def store() -> None:
    """Compare CPU seconds of a run that writes its draws with those of one that keeps them in memory."""
    plans = {name: plan(CHAINS, DRAWS, None) for name in ("whole", "streamed")}
    spent: dict[str, list[float]] = {name: [] for name in plans}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1 + STREAMED):
            for name, own in plans.items():
                own.run = RunOptions(store=Path(folder) / f"{number}.zarr") if name == "streamed" else None
                seconds, run = timed(own, number)
                if number:
                    spent[name].append(seconds)
    told("draws in a store", spent["whole"], spent["streamed"])
    print(f"driver with a store: {run['driver_ms']:.2f} ms a chunk (wall), {run['chunks']} chunks")


def peak(how: str, draws: int) -> None:
    """Run in a process of its own and print its peak memory, above what it held before the first draw, in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        if how == "store":
            own = plan(4, draws, RunOptions(store=Path(folder) / "draws.zarr"))
            own.prepare(())
            before = highest()
            result = own(jax.random.key(0))
            assert result.posterior["x"].shape == (4, draws, DIMENSION)
        else:
            own = plan(4, draws, RunOptions())
            own.prepare(())
            before, total = highest(), 0.0
            for chunk in own.iterate(jax.random.key(0)):
                total += float(chunk.draws["x"].sum())
        print(highest() - before)


def highest() -> float:
    """Return the peak memory of this process in MiB."""
    return peak_bytes() / MIB


def memory() -> None:
    """Compare the peak memory of 10^6 draws with that of 10^5."""
    for how in ("store", "iterate"):
        for draws in (10**5, 10**6):
            command = [sys.executable, os.path.abspath(__file__), "peak", how, str(draws)]
            found = subprocess.run(command, capture_output=True, text=True, check=True)
            size = 4 * draws * DIMENSION * 4 / 2**20
            print(f"{how}: {draws} draws of 4 chains ({size:.0f} MiB): {float(found.stdout):.0f} MiB above the start")


if __name__ == "__main__":
    what = sys.argv[1:]
    if what[:1] == ["peak"]:
        peak(what[1], int(what[2]))
    for part in (overhead, store, memory):
        if what in ([], [part.__name__]):
            part()
