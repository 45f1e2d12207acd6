"""The floor of W3a: random-walk Metropolis written by hand in JAX for this logistic regression, and nothing else.

Law: that of the library: chains side by side, steps of covariance 2.38^2/d x the given one, the log density carried.

What makes it fast: one key and one batched draw a step, one matrix product for all chains, the keys and the logarithms
of the coins drawn before the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.contestants import threefry
from benchmarks.contestants.chains import ChainRun
from benchmarks.contestants.staged import Staged
from benchmarks.contestants.w2.floor import LogLikelihood, plain
from benchmarks.workloads import regression, regression_starts, regression_walk

PACKAGES = ("jax", "jaxlib", "arviz-stats")
DTYPE = "float32"


def walk_program(warmup: int, draws: int, log_likelihood: LogLikelihood = plain) -> Callable[..., jax.Array]:
    """The chains as a function of a key, the signed covariates (d, n), the starts and the root of the covariance."""
    steps = warmup + draws

    def run(key: jax.Array, signed: jax.Array, start: jax.Array, root: jax.Array) -> jax.Array:
        chains, d = start.shape
        step_key, coin_key = jax.random.split(key)
        coins = jnp.log(jax.random.uniform(coin_key, (steps, chains)))

        def log_density(x: jax.Array) -> jax.Array:
            return log_likelihood(x, signed) - 0.5 * jnp.sum(x * x, axis=1)

        def step(state: tuple[jax.Array, jax.Array], given: Any) -> Any:
            x, here = state
            key, coin = given
            proposed = x + threefry.normal(key, (chains * d,)).reshape(chains, d) @ root.T
            there = log_density(proposed)
            accept = coin < there - here
            x = jnp.where(accept[:, None], proposed, x)
            return (x, jnp.where(accept, there, here)), x

        _, xs = lax.scan(step, (start, log_density(start)), (jax.random.split(step_key, steps), coins))
        return jnp.swapaxes(xs[warmup:], 0, 1)

    return run


def build(settings: dict[str, Any], log_likelihood: LogLikelihood = plain) -> ChainRun:
    """The contestant for one variant."""
    covariates, labels = regression()
    data = covariates.T * (1 - 2 * labels), regression_starts(settings["chains"]), regression_walk()
    program = walk_program(settings["warmup"], settings["draws"], log_likelihood)
    return ChainRun(Staged(program), tuple(jnp.asarray(x, DTYPE) for x in data))
