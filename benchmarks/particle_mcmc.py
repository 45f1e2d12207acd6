"""Cost of particle MCMC: `python benchmarks/particle_mcmc.py`, PMMH on the stochastic volatility of workload W1.

32 chains side by side, 1,000 particles each, which keep their parameters, against a filter of W1 with as many particles
run sixteen times, in particle-steps per CPU second, round by round in one process: the rate of the chains should be at
least 0.8 of that of the filter. `taskset -c 0` in front pins both to one core.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import lawful
from benchmarks import models
from benchmarks.workloads import observations
from lawful import inference
from lawful.inference import kernels

BAR = 0.8
PARTICLES, CHAINS, DRAWS, RUNS = 1000, 32, 4, 16


def volatility(y: Any) -> None:
    """The model of W1 with unknown persistence and scale."""
    rho = lawful.sample("rho", dist.Uniform(0.5, 1.0))
    sigma = lawful.sample("sigma", dist.LogNormal(-1.5, 0.5))
    x = lawful.sample("x0", dist.Normal(-1.0, sigma / jnp.sqrt(1 - rho * rho)))
    lawful.sample("y0", dist.Normal(0.0, jnp.exp(x / 2)), obs=y[0])

    def step(x: Any, y: Any) -> tuple[Any, None]:
        x = lawful.sample("x", dist.Normal(-1.0 + rho * (x + 1.0), sigma))
        lawful.sample("y", dist.Normal(0.0, jnp.exp(x / 2)), obs=y)
        return x, None

    lawful.scan(step, x, y[1:])


def cpu_seconds(run: Callable[[int], Any], i: int) -> float:
    """CPU seconds of one call, all threads."""
    start = time.process_time()
    jax.block_until_ready(run(i))
    return time.process_time() - start


def main() -> int:
    """Print the rates and their ratio; the exit status tells whether the bar is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    y = jnp.asarray(observations("SV"), jnp.float32)
    filtered = inference.smc(models.sv, particles=PARTICLES, keep="last").prepare((y,))
    plan = inference.pmmh(
        volatility, kernels.random_walk(0.05), ["rho", "sigma"], particles=PARTICLES, chains=CHAINS, warmup=0,
        draws=DRAWS, init={"rho": 0.95, "sigma": 0.25}, keep="parameters",
    )  # fmt: skip
    chains = plan.prepare((y,))
    state = chains.built.state_at(jax.random.key(0), chains.inputs, plan.init)

    def some(i: int) -> Any:
        return [filtered.built.run(jax.random.key(i * RUNS + k), filtered.inputs) for k in range(RUNS)]

    def many(i: int) -> Any:
        return chains.built.run(jax.random.key(i), chains.inputs, state)

    cpu_seconds(some, 0), cpu_seconds(many, 0)
    times = np.array([(cpu_seconds(some, i), cpu_seconds(many, i)) for i in range(1, rounds + 1)])
    steps = PARTICLES * len(y)
    single, side_by_side = RUNS * steps / times[:, 0], CHAINS * DRAWS * steps / times[:, 1]
    ratio, each = side_by_side.max() / single.max(), side_by_side / single
    print(
        f"filter {single.max() / 1e6:.1f} M particle-steps per CPU-s, {CHAINS} chains {side_by_side.max() / 1e6:.1f} M"
    )
    print(f"chains / filter {ratio:.2f} [{each.min():.2f}, {np.median(each):.2f}, {each.max():.2f}], bar {BAR}")
    return int(max(ratio, float(np.median(each))) < BAR)


if __name__ == "__main__":
    sys.exit(main())
