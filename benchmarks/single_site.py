"""Cost of a single-site move: `python benchmarks/single_site.py`, a chain of 100 and of 1,000 sites, and a mixture.

CPU seconds of the process, the least of several runs after one that compiles; states are kept every 1,000 steps, so
that the move is measured and not the memory of its history. Work that is linear in the sites would grow tenfold.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

BAR = 3.0  # least growth, from 100 to 1,000 sites, that counts as too much
THIN = 1000


def chain(y: Any) -> None:
    """A hidden level that wanders, seen through noise at each step."""

    def step(x: Any, y: Any) -> tuple[Any, None]:
        x = lawful.sample("x", dist.Normal(0.9 * x, 1.0))
        lawful.sample("y", dist.Normal(x, 0.5), obs=y)
        return x, None

    lawful.scan(step, 0.0, y)


def switching(y: Any) -> None:
    """A level that jumps or walks: every move of `b` flips a branch."""

    def step(x: Any, y: Any) -> tuple[Any, None]:
        b = lawful.sample("b", dist.Bernoulli(0.3))
        x = lawful.cond(
            b == 1,
            lambda x: lawful.sample("jump", dist.Normal(x, 5.0)),
            lambda x: lawful.sample("walk", dist.Normal(x, 0.1)),
            x,
        )
        lawful.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    lawful.scan(step, 0.0, y)


def mixture(y: Any) -> None:
    """A mixture of three normals with a label for each datum (workload W3b)."""
    mu = lawful.sample("mu", dist.Normal(jnp.array([-3.0, 0.0, 3.0]), 1.0))
    with lawful.plate("item", len(y)):
        z = lawful.sample("z", dist.Categorical(jnp.array([0.3, 0.3, 0.4])))
        lawful.sample("y", dist.Normal(mu[z], 1.0), obs=y)


def data(n: int) -> Any:
    """Draw data of the mixture, as W3b does."""
    rng = np.random.default_rng(2)
    centres = np.array([-2.2, 0.3, 2.6])[rng.choice(3, n, p=[0.3, 0.3, 0.4])]
    return jnp.asarray(rng.normal(centres, 1.0), jnp.float32)


def seconds(program: Any, n: int, chains: int, moves: int, runs: int) -> float:
    """CPU seconds of one step of all chains."""
    plan = inference.mcmc(
        program, inference.kernels.mh(), chains=chains, warmup=0, draws=max(moves // THIN, 1), thin=THIN
    )
    prepared = plan.prepare((data(n),))
    built, key = prepared.built, jax.random.key(1)
    state, _ = built.start(key, prepared.inputs)
    jax.block_until_ready(built.run(key, prepared.inputs, state))
    spent = []
    for _ in range(runs):
        start = time.process_time()
        jax.block_until_ready(built.run(key, prepared.inputs, state))
        spent.append(time.process_time() - start)
    return min(spent) / built.loop.steps


def main() -> None:
    """Print the table; fail where a chain's move grows by the bar or more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=50_000, help="steps of each chain in a run")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--chains", type=int, nargs="+", default=[1, 4, 64])
    options = parser.parse_args()
    print(f"{'program':<12}{'chains':>8}{'n':>8}{'us a step':>12}{'moves a CPU-s':>16}{'growth':>9}")
    grown = []
    for program in (chain, switching, mixture):
        for chains in options.chains:
            first = 0.0
            for n in (100, 1000):
                spent = seconds(program, n, chains, options.moves, options.runs)
                growth = spent / first if first else float("nan")
                shown = f"{growth:>9.2f}" if first else f"{'':>9}"
                print(
                    f"{program.__name__:<12}{chains:>8}{n:>8}{spent * 1e6:>12.2f}{chains / spent:>16,.0f}{shown}",
                    flush=True,
                )
                if first and program is not mixture:  # its means read every label
                    grown.append(growth)
                first = spent
    worst = max(grown)
    print(f"largest growth of a chain's move from 100 to 1,000 sites: {worst:.2f} (bar {BAR:g})")
    sys.exit(worst >= BAR)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import lawful
    from lawful import inference

    main()
