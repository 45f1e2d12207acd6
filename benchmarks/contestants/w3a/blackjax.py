"""BlackJAX on W3a: its additive-step random walk, the whole run of all chains in one jitted scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import blackjax
import jax
import jax.numpy as jnp

from benchmarks.contestants.chains import ChainRun
from benchmarks.contestants.staged import Staged
from benchmarks.workloads import regression, regression_starts, regression_walk

PACKAGES = ("blackjax", "jax", "jaxlib", "arviz-stats")
DTYPE = "float32"


def walk_program(warmup: int, draws: int) -> Callable[..., jax.Array]:
    """The chains as a function of a key, the signed covariates (n, d), the starts and the root of the covariance."""
    steps = warmup + draws

    def run(key: jax.Array, signed: jax.Array, start: jax.Array, root: jax.Array) -> jax.Array:
        chains = len(start)

        def log_density(x: jax.Array) -> jax.Array:
            return -0.5 * jnp.sum(x * x) - jnp.sum(jax.nn.softplus(signed @ x))

        walk = blackjax.additive_step_random_walk(log_density, blackjax.mcmc.random_walk.normal(root))
        move = jax.vmap(walk.step)

        def step(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            state, _ = move(jax.random.split(key, chains), state)
            return state, state.position

        _, xs = jax.lax.scan(step, jax.vmap(walk.init)(start), jax.random.split(key, steps))
        return jnp.swapaxes(xs[warmup:], 0, 1)

    return run


def build(settings: dict[str, Any]) -> ChainRun:
    """The contestant for one variant."""
    covariates, labels = regression()
    data = covariates * (1 - 2 * labels)[:, None], regression_starts(settings["chains"]), regression_walk()
    program = walk_program(settings["warmup"], settings["draws"])
    return ChainRun(Staged(program), tuple(jnp.asarray(x, DTYPE) for x in data))
