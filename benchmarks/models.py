"""The programs that `ours` runs: ordinary lawful programs, written as a user would write them.

Law: with the constants of workloads.MODELS they denote the models of workloads.py.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import lawful
from benchmarks.workloads import MODELS


def lg(ys: jax.Array) -> jax.Array:
    """Linear Gaussian state space of W1; returns the last state."""
    a, q, r = MODELS["LG"].persistence, MODELS["LG"].scale, MODELS["LG"].noise
    x = lawful.sample("x0", dist.Normal(0.0, q / math.sqrt(1 - a * a)))
    lawful.sample("y0", dist.Normal(x, r), obs=ys[0])

    def step(x: jax.Array, y: jax.Array) -> tuple[jax.Array, None]:
        x = lawful.sample("x", dist.Normal(a * x, q))
        lawful.sample("y", dist.Normal(x, r), obs=y)
        return x, None

    x, _ = lawful.scan(step, x, ys[1:])
    return x


def sv(ys: jax.Array) -> jax.Array:
    """Stochastic volatility of W1; returns the last state."""
    mu, rho, sigma = MODELS["SV"].mean, MODELS["SV"].persistence, MODELS["SV"].scale
    x = lawful.sample("x0", dist.Normal(mu, sigma / math.sqrt(1 - rho * rho)))
    lawful.sample("y0", dist.Normal(0.0, jnp.exp(x / 2)), obs=ys[0])

    def step(x: jax.Array, y: jax.Array) -> tuple[jax.Array, None]:
        x = lawful.sample("x", dist.Normal(mu + rho * (x - mu), sigma))
        lawful.sample("y", dist.Normal(0.0, jnp.exp(x / 2)), obs=y)
        return x, None

    x, _ = lawful.scan(step, x, ys[1:])
    return x
