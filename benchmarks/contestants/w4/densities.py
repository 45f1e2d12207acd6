"""The log densities of W4 in coordinates without bounds, as a user of BlackJAX writes them."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def logistic(x: jax.Array, covariates: jax.Array, labels: jax.Array) -> jax.Array:
    """Logistic regression of W2, without constants."""
    signed = covariates * (1 - 2 * labels)[:, None]
    return -0.5 * jnp.sum(x * x) - jnp.sum(jax.nn.softplus(signed @ x))


def schools(x: jax.Array, observed: jax.Array, scales: jax.Array) -> jax.Array:
    """Eight schools, non-centred; coordinates mu, log tau, t; without constants."""
    mu, log_tau, t = x[0], x[1], x[2:]
    tau = jnp.exp(log_tau)
    prior = -0.5 * (mu / 5) ** 2 - jnp.log1p((tau / 5) ** 2) + log_tau - 0.5 * jnp.sum(t * t)
    return prior - 0.5 * jnp.sum(((observed - mu - tau * t) / scales) ** 2)
