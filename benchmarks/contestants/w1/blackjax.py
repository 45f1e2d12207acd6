"""BlackJAX on W1: it has no filter driver, so this is the user's scan over `blackjax.smc.resampling.systematic`.

The move takes a key per particle, as `blackjax.smc.base.step` hands them to its update function. The whole run is one
jitted program, the ESS test a real branch, and nothing is stacked over time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from blackjax.smc import resampling
from jax.scipy.special import logsumexp

from benchmarks.contestants.staged import KeyedRun
from benchmarks.workloads import LOG_TWO_PI, MODELS, StateSpace, observations

PACKAGES = ("blackjax", "jax", "jaxlib")
DTYPE = "float32"

Carry = tuple[jax.Array, jax.Array, jax.Array]
Update = Callable[[jax.Array, jax.Array, Callable[[jax.Array, jax.Array], jax.Array]], jax.Array]


def key_per_particle(key: jax.Array, x: jax.Array, move: Callable[[jax.Array, jax.Array], jax.Array]) -> jax.Array:
    """Move each particle with its own key."""
    return jax.vmap(move)(jax.random.split(key, x.shape[0]), x)


def filter_program(constants: StateSpace, particles: int, update: Update = key_per_particle) -> Callable[..., Any]:
    """The filter as a function of a key and the observations."""
    n = particles
    mean, persistence, scale = constants.mean, constants.persistence, constants.scale

    def log_likelihood(x: jax.Array, y: jax.Array) -> jax.Array:
        if constants.observation == "volatility":
            return -0.5 * (x + y * y * jnp.exp(-x)) - 0.5 * LOG_TWO_PI
        return -0.5 * ((y - x) / constants.noise) ** 2 - (math.log(constants.noise) + 0.5 * LOG_TWO_PI)

    def move(key: jax.Array, x: jax.Array) -> jax.Array:
        return mean + persistence * (x - mean) + scale * jax.random.normal(key, x.shape)

    def step(carry: Carry, inputs: tuple[jax.Array, jax.Array]) -> tuple[Carry, None]:
        x, log_weight, evidence = carry
        y, key = inputs
        resampling_key, update_key = jax.random.split(key)
        weight = jnp.exp(log_weight)

        def resample() -> tuple[jax.Array, jax.Array]:
            return x[resampling.systematic(resampling_key, weight, n)], jnp.full(n, -math.log(n))

        x, log_weight = jax.lax.cond(1 / jnp.sum(weight**2) < n / 2, resample, lambda: (x, log_weight))
        x = update(update_key, x, move)
        log_weight = log_weight + log_likelihood(x, y)
        increment = logsumexp(log_weight)
        return (x, log_weight - increment, evidence + increment), None

    def run(key: jax.Array, y: jax.Array) -> dict[str, jax.Array]:
        first_key, key = jax.random.split(key)
        x = mean + constants.stationary_scale * jax.random.normal(first_key, (n,))
        log_weight = log_likelihood(x, y[0])
        total = logsumexp(log_weight)
        start = (x, log_weight - total, total - math.log(n))
        (x, log_weight, evidence), _ = jax.lax.scan(step, start, (y[1:], jax.random.split(key, y.shape[0] - 1)))
        return {"log_evidence": evidence, "filtered_mean": jnp.sum(jnp.exp(log_weight) * x)}

    return run


def build(settings: dict[str, Any]) -> KeyedRun:
    """The contestant for one variant."""
    program = filter_program(MODELS[settings["model"]], settings["particles"])
    return KeyedRun(program, jnp.asarray(observations(settings["model"]), DTYPE))
