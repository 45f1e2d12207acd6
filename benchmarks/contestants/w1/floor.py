"""The floor of W1: a bootstrap particle filter written by hand in JAX for LG and SV, and nothing else.

Law: that of the library: systematic resampling with one uniform when ESS < N/2, tested before each move, offspring
within one of N w_i / sum(w), evidence as a two-float sum, an all-dead population gives -inf and never NaN.

What makes it fast (each measured against its alternative, see README.md): one `lax.scan`; one key and one batched
normal a step, from a generator that fuses; keys and uniforms drawn before the loop; the weights exp(l - max l), their
sum and the ESS carried beside the log weights, so that a step takes one exponential and the branch tests a number it
already has; the gather inside the branch; ancestors by counting, with no search and no sort.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.contestants import threefry
from benchmarks.contestants.staged import KeyedRun
from benchmarks.workloads import LOG_TWO_PI, MODELS, StateSpace, observations

PACKAGES = ("jax", "jaxlib")
DTYPE = "float32"

Normal = Callable[[jax.Array, tuple[int, ...]], jax.Array]


class Population(NamedTuple):
    """The carry: N states and their weights, three ways."""

    x: jax.Array
    log_weight: jax.Array  # largest entry 0
    weight: jax.Array  # exp(log_weight)
    total: jax.Array  # sum of weight
    ess: jax.Array
    evidence: jax.Array
    remainder: jax.Array  # what rounding took from `evidence`


def ancestors(weight: jax.Array, u: jax.Array) -> jax.Array:
    """Systematic resampling by counting: m_i = ceil(N c_i / c_N - u) slots lie at or before particle i.

    Rounding may leave the last slot beyond particle N - 1; the gather clips it.
    """
    n = weight.shape[0]
    cumulative = jnp.cumsum(weight)
    m = jnp.clip(jnp.ceil(cumulative * (n / cumulative[-1]) - u), 0, n).astype(jnp.int32)
    return jnp.cumsum(jnp.zeros(n, jnp.int32).at[m].add(1, mode="drop", indices_are_sorted=True))


def add_exactly(high: jax.Array, low: jax.Array, term: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two-float sum; after -inf the remainder is left alone, so that no NaN arises."""
    total = high + term
    added = total - high
    error = (high - (total - added)) + (term - added)
    return total, jnp.where(jnp.isfinite(total), low + error, low)


def filter_program(constants: StateSpace, particles: int, normal: Normal = threefry.normal) -> Callable[..., Any]:
    """The filter as a function of a key and the observations."""
    n = particles
    mean, persistence, scale = constants.mean, constants.persistence, constants.scale

    def log_likelihood(x: jax.Array, y: jax.Array) -> jax.Array:
        if constants.observation == "volatility":
            return -0.5 * (x + y * y * jnp.exp(-x)) - 0.5 * LOG_TWO_PI
        return -0.5 * ((y - x) / constants.noise) ** 2 - (math.log(constants.noise) + 0.5 * LOG_TWO_PI)

    def weighed(x: jax.Array, log_weight: jax.Array, before: Population | None) -> Population:
        top = jnp.max(log_weight)
        top = jnp.where(top > -jnp.inf, top, 0.0)
        log_weight = log_weight - top
        weight = jnp.exp(log_weight)
        total = jnp.sum(weight)
        previous, evidence, remainder = (before.total, *before[-2:]) if before else (jnp.float32(n), 0.0, 0.0)
        increment = jnp.where(total > 0, top + jnp.log(total / previous), -jnp.inf)
        evidence, remainder = add_exactly(jnp.float32(evidence), jnp.float32(remainder), increment)
        return Population(x, log_weight, weight, total, total * total / jnp.sum(weight**2), evidence, remainder)

    def step(population: Population, inputs: tuple[jax.Array, ...]) -> tuple[Population, None]:
        y, key, u = inputs

        def resample() -> tuple[jax.Array, ...]:
            x = population.x.at[ancestors(population.weight, u)].get(mode="clip")
            return x, jnp.zeros_like(x), jnp.float32(n)

        def keep() -> tuple[jax.Array, ...]:
            return population.x, population.log_weight, population.total

        x, log_weight, total = lax.cond(population.ess < n / 2, resample, keep)
        x = mean + persistence * (x - mean) + scale * normal(key, (n,))
        return weighed(x, log_weight + log_likelihood(x, y), population._replace(total=total)), None

    def run(key: jax.Array, y: jax.Array) -> dict[str, jax.Array]:
        first_key, move_key, resample_key = jax.random.split(key, 3)
        x = mean + constants.stationary_scale * normal(first_key, (n,))
        population = weighed(x, log_likelihood(x, y[0]), None)
        steps = y.shape[0] - 1
        inputs = (y[1:], jax.random.split(move_key, steps), jax.random.uniform(resample_key, (steps,)))
        p, _ = lax.scan(step, population, inputs)
        return {
            "log_evidence": p.evidence,
            "log_evidence_remainder": p.remainder,
            "filtered_mean": jnp.dot(p.weight, p.x) / p.total,
        }

    return run


def build(settings: dict[str, Any]) -> KeyedRun:
    """The contestant for one variant."""
    program = filter_program(MODELS[settings["model"]], settings["particles"])
    return KeyedRun(program, jnp.asarray(observations(settings["model"]), DTYPE))
