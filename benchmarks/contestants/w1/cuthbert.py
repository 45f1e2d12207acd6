"""cuthbert on W1: `cuthbert.filter` over its particle filter with adaptive systematic resampling, in one jit.

Its filter moves before it weighs, at every step. So the input of a step carries a flag, and the step of t = 0 keeps
the initial draw instead of moving it. It always stacks the particles of all steps.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from cuthbert import filter as run_filter
from cuthbert.smc.particle_filter import build_filter
from cuthbertlib.resampling import systematic
from cuthbertlib.resampling.adaptive import ess_decorator

from benchmarks.contestants.staged import KeyedRun
from benchmarks.workloads import LOG_TWO_PI, MODELS, observations

PACKAGES = ("cuthbert", "cuthbertlib", "jax", "jaxlib", "numba")
DTYPE = "float32"


def build(settings: dict[str, Any]) -> KeyedRun:
    """The contestant for one variant."""
    constants = MODELS[settings["model"]]
    mean, persistence, scale = constants.mean, constants.persistence, constants.scale

    def init_sample(key: jax.Array) -> jax.Array:
        return mean + constants.stationary_scale * jax.random.normal(key)

    def propagate_sample(key: jax.Array, x: jax.Array, inputs: dict[str, jax.Array]) -> jax.Array:
        moved = mean + persistence * (x - mean) + scale * jax.random.normal(key)
        return jnp.where(inputs["first"], x, moved)

    def log_potential(previous: jax.Array, x: jax.Array, inputs: dict[str, jax.Array]) -> jax.Array:
        y = inputs["y"]
        if constants.observation == "volatility":
            return -0.5 * (x + y * y * jnp.exp(-x)) - 0.5 * LOG_TWO_PI
        return -0.5 * ((y - x) / constants.noise) ** 2 - (math.log(constants.noise) + 0.5 * LOG_TWO_PI)

    particle_filter = build_filter(
        init_sample,
        propagate_sample,
        log_potential,
        settings["particles"],
        ess_decorator(systematic.resampling, 0.5),
    )

    def run(key: jax.Array, y: jax.Array) -> dict[str, jax.Array]:
        first_key, key = jax.random.split(key)
        inputs = {"y": y, "first": jnp.arange(y.shape[0]) == 0}
        states = run_filter(particle_filter, inputs, particle_filter.init_prepare(key=first_key), key=key)
        weights = jax.nn.softmax(states.log_weights[-1])
        return {
            "log_evidence": states.log_normalizing_constant[-1],
            "filtered_mean": jnp.dot(weights, states.particles[-1]),
        }

    return KeyedRun(run, jnp.asarray(observations(settings["model"]), DTYPE))
