"""What driving a run in chunks costs beside one compiled call, and how much host memory a run of 10^6 draws takes.

    python benchmarks/running.py            # both
    python benchmarks/running.py overhead   # CPU of 64 chains x 10 dimensions, random walk, chunked against whole
    python benchmarks/running.py memory     # peak memory of 10^6 draws by plan.iterate, against 10^5

CPU seconds are user + system of all threads of the process. The calls take turns, round after round.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful
from lawful import inference
from lawful.inference import RunOptions, kernels

CHAINS, DIMENSION, DRAWS, ROUNDS = 64, 10, 20_000, 7


def model():
    """Ten independent normals."""
    lawful.sample("x", dist.Normal(jnp.zeros(DIMENSION), 1.0).to_event(1))


def plan(chains: int, draws: int, run: RunOptions | None):
    """Build the chains."""
    return inference.mcmc(model, kernels.random_walk(0.5), chains=chains, warmup=0, draws=draws, run=run)


def overhead() -> None:
    """Compare CPU seconds of a call in chunks with those of one compiled call."""
    ends: list[tuple[float, float]] = []
    run = RunOptions()
    plans = {"whole": plan(CHAINS, DRAWS, None), "chunked": plan(CHAINS, DRAWS, run)}
    for own in plans.values():
        own(jax.random.key(0))
    spent: dict[str, list[float]] = {name: [] for name in plans}
    for number in range(ROUNDS):
        for name, own in plans.items():
            start = time.process_time()
            own(jax.random.key(number))
            spent[name].append(time.process_time() - start)
    counted = plan(CHAINS, DRAWS, RunOptions(callbacks=lambda seen: ends.append((time.perf_counter(), seen.seconds))))
    counted(jax.random.key(0))
    ends.clear()
    counted(jax.random.key(0))
    wall, taken = (ends[-1][place] - ends[0][place] for place in range(2))
    ratios = [b / a for a, b in zip(spent["whole"], spent["chunked"], strict=True)]
    whole, chunked = min(spent["whole"]), min(spent["chunked"])
    chunks = len(ends)
    print(f"{CHAINS} chains x {DIMENSION}, {DRAWS} draws, {chunks} chunks of automatic length")
    print(f"CPU: whole {whole:.3f} s, chunked {chunked:.3f} s; ratio of minima {chunked / whole:.3f}, "
          f"of rounds {min(ratios):.3f} to {max(ratios):.3f}, median {float(np.median(ratios)):.3f}")  # fmt: skip
    print(f"driver: {1e3 * (wall - taken) / (chunks - 1):.2f} ms a chunk outside the compiled steps (wall)")


def peak(draws: int) -> None:
    """Run in a process of its own and print its peak memory, above what it held before, in MiB."""
    own = plan(4, draws, RunOptions())
    total, before = 0.0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for chunk in own.iterate(jax.random.key(0)):
        total += float(chunk.draws["x"].sum())
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def memory() -> None:
    """Compare the peak memory of 10^6 draws with that of 10^5."""
    for draws in (10**5, 10**6):
        found = subprocess.run(
            [sys.executable, os.path.abspath(__file__), "peak", str(draws)], capture_output=True, text=True, check=True
        )
        size = 4 * draws * DIMENSION * 4 / 2**20
        print(
            f"{draws} draws of 4 chains ({size:.0f} MiB of draws): peak {float(found.stdout):.0f} MiB above the start"
        )


if __name__ == "__main__":
    what = sys.argv[1:]
    if what[:1] == ["peak"]:
        peak(int(what[1]))
    else:
        if what in ([], ["overhead"]):
            overhead()
        if what in ([], ["memory"]):
            memory()
