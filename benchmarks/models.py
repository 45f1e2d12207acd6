"""The programs that `ours` runs: ordinary lawful programs, written as a user would write them.

Law: with the constants of workloads they denote its models.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import lawful
from benchmarks.workloads import LABELLED, MIXTURE_PRIOR, MIXTURE_WEIGHT, MODELS, PREDICTORS, ROWS


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


def unrolled_chain() -> Callable[[jax.Array], None]:
    """The chain of W7 as a Python loop of named sites; a new function each time, so that nothing is cached."""

    def chain(y: jax.Array) -> None:
        mean: Any = 0.0
        for i in range(len(y)):
            x = lawful.sample(f"x{i}", dist.Normal(mean, 1.0))
            lawful.sample(f"y{i}", dist.Normal(x, 1.0), obs=y[i])
            mean = 0.5 * x

    return chain


def logistic(covariates: jax.Array, labels: jax.Array) -> jax.Array:
    """Logistic regression of W2; returns the coefficients."""
    coefficients = lawful.sample("coefficients", dist.Normal(jnp.zeros(PREDICTORS), 1.0).to_event(1))
    with lawful.plate("row", ROWS):
        lawful.sample("label", dist.Bernoulli(logits=covariates @ coefficients), obs=labels)
    return coefficients


def schools(observed: jax.Array, scales: jax.Array) -> None:
    """Eight schools of W4, non-centred."""
    mu = lawful.sample("mu", dist.Normal(0.0, 5.0))
    tau = lawful.sample("tau", dist.HalfCauchy(5.0))
    with lawful.plate("school", 8):
        t = lawful.sample("t", dist.Normal(0.0, 1.0))
        lawful.sample("y", dist.Normal(mu + tau * t, scales), obs=observed)


def labelled_mixture(y: jax.Array) -> None:
    """Mixture of W3b with a label for each observation."""
    mean = lawful.sample("mean", dist.Normal(jnp.asarray(MIXTURE_PRIOR), 1.0))
    with lawful.plate("item", LABELLED):
        label = lawful.sample("label", dist.Categorical(jnp.asarray(MIXTURE_WEIGHT)))
        lawful.sample("y", dist.Normal(mean[label], 1.0), obs=y)
