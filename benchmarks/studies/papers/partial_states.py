"""`python -m benchmarks.studies.papers.partial_states`: marginals of partial states of a torus of spins.

Lines: log Z of the published grid of ten by ten and its cost; a thousand partial marginals for one set of seen sites,
sets of five sizes; moments of exact draws beside derivatives of log Z; and a grid of twenty by twenty, too wide for a
sum: draws that a regression guides, learned on a grid of eight by eight, beside draws of each site by the field alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful import inference
from lawful.inference import graphs
from lawful.models.papers.partial_states import guided, log_marginal, next_value, patch, torus

from .bars import judge

SEEDS = range(100, 105)
LOG_Z = 78.688056194918  # coupling 0.2 an edge, field 0.2
NONE = np.zeros((10, 10), bool)
BY_FIELD = jnp.zeros(25).at[24].set(0.4)  # logit of a spin that only the field of 0.2 pulls


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Give an answer that is asked for a second time, and its CPU seconds."""
    jax.block_until_ready(function())
    start = time.process_time()
    return jax.block_until_ready(function()), time.process_time() - start


def partial_marginals(seed: int, seen_sites: int, values: int = 1000) -> float:
    """Give CPU seconds of a thousand log probabilities of one set of sites, after compiling."""
    rng = np.random.default_rng(seed)
    seen = np.isin(np.arange(100), rng.permutation(100)[:seen_sites]).reshape(10, 10)
    every = jax.jit(jax.vmap(lambda up: log_marginal(up, seen) - LOG_Z))
    found, seconds = timed(lambda: every(rng.integers(0, 2, (values, 10, 10))))
    assert np.all(np.asarray(found) < 0)
    return float(seconds)


def learned(seed: int, size: int = 8, draws: int = 10_000, sites: int = 4) -> jax.Array:
    """Fit the regression of a site on those before it, to exact draws of a small grid."""
    drawn = graphs.draws(graphs.to_factor_graph(torus, size, size), jax.random.key(seed), draws).states["up"]
    up = np.repeat(np.asarray(drawn).reshape(draws, -1), sites, 0)
    site = np.random.default_rng(seed).integers(0, size**2, len(up))
    masked = np.where(np.arange(size**2) < site[:, None], up, -1).reshape(-1, size, size)
    patches = jax.vmap(patch)(jnp.asarray(masked), jnp.asarray(site))
    fit = inference.maximise(next_value, starts=1)(jax.random.key(seed), patches, up[np.arange(len(up)), site])
    return jnp.asarray(fit.optima[0].values["weight"])


def main() -> int:
    """Print all lines; return the number of bars that are missed."""
    jax.config.update("jax_enable_x64", True)
    missed = 0
    log_z = jax.jit(lambda: log_marginal(NONE, NONE))
    value, seconds = timed(log_z)
    error = abs(float(value) - LOG_Z)
    missed += judge("log Z", "1e-9 in 1 CPU s", f"{error:.1e} in {seconds:.2f} CPU s", error < 1e-9 and seconds < 1)
    for seed, sites in zip(SEEDS, (15, 30, 45, 60, 75), strict=True):
        seconds = partial_marginals(seed, sites)
        missed += judge(f"1,000 marginals of {sites} sites", "1 CPU s", f"{seconds:.2f} CPU s", seconds < 1)
    bonds, spins = jax.grad(lambda theta: log_marginal(NONE, NONE, *theta))(jnp.array([0.2, 0.2]))
    drawn = graphs.draws(graphs.to_factor_graph(torus, 10, 10), jax.random.key(100), 2000).states["up"]
    spin = 2.0 * np.asarray(drawn) - 1
    pairs = (spin * (np.roll(spin, 1, 1) + np.roll(spin, 1, 2))).sum((1, 2))
    for name, found, truth in (("bonds", pairs, bonds), ("magnetisation", spin.sum((1, 2)), spins)):
        score = float((found.mean() - truth) / (found.std() / np.sqrt(len(found))))
        missed += judge(f"{name} of 2,000 exact draws", "3 standard errors", f"{score:+.2f}", abs(score) < 3)
    for seed in SEEDS:
        plan = inference.smc(guided, particles=500, runs=40)
        variance, cost = {}, {}
        for name, weight in (("learned", learned(seed)), ("by field", BY_FIELD)):
            result, cost[name] = timed(lambda weight=weight: plan(jax.random.key(seed), weight, 20, 20).log_evidence)
            variance[name] = float(np.var(np.asarray(result), ddof=1))
        ratio = variance["by field"] / variance["learned"]
        found = f"{variance['learned']:.5f} beside {variance['by field']:.3f}, {ratio:.0f} times below, "
        found += f"{ratio * cost['by field'] / cost['learned']:.0f} times for the same CPU time"
        missed += judge(f"seed {seed}, variance of log Z, 20 by 20, 500 particles", "below", found, ratio > 1)
    return missed


if __name__ == "__main__":
    sys.exit(main())
