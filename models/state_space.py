"""State-space models as programs: one step of a hidden state after the other, each seen through noise.

Law: the linear Gaussian one has the evidence and the moments of the Kalman filter (`lawful.models.kalman`), stochastic
volatility those of a filter on a grid of points.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import lawful

from .kalman import LinearGaussian

__all__ = ["linear_gaussian", "stochastic_volatility"]


def linear_gaussian(model: LinearGaussian, y: Any) -> jax.Array:
    """A linear Gaussian state space: x_t ~ N(A x_{t-1}, Q), y_t ~ N(C x_t, R); the first state is seen without a move.

    Args:
        model: the parameters, matrices of one size at all steps.
        y: (T, d), the observations.

    Returns: (T, n), the states.

    >>> from lawful import handlers
    >>> from lawful.models import local_level
    >>> handlers.seed(linear_gaussian, jax.random.key(0))(local_level(0.0, 1.0, 0.1, 0.5), jnp.zeros((4, 1))).shape
    (4, 1)
    """
    roots = [jnp.linalg.cholesky(jnp.asarray(cov)) for cov in (model.cov, model.transition_cov, model.emission_cov)]
    root_first, root_step, root_noise = roots
    transition, emission = jnp.asarray(model.transition), jnp.asarray(model.emission)

    def step(x: jax.Array, now: tuple[Any, Any]) -> tuple[jax.Array, jax.Array]:
        first, y = now
        mean, root = jnp.where(first, model.mean, transition @ x), jnp.where(first, root_first, root_step)
        x = lawful.sample("x", dist.MultivariateNormal(mean, scale_tril=root))
        lawful.sample("y", dist.MultivariateNormal(emission @ x, scale_tril=root_noise), obs=y)
        return x, x

    states: jax.Array = lawful.scan(step, jnp.asarray(model.mean), (jnp.arange(len(y)) == 0, y))[1]
    return states


def stochastic_volatility(y: Any, mean: Any = -1.0, persistence: Any = 0.95, scale: Any = 0.25) -> jax.Array:
    """Returns whose log variance wanders (Taylor 1982; Kim, Shephard and Chib 1998).

    x_0 has the stationary law, x_t ~ N(mean + persistence (x_{t-1} - mean), scale), y_t ~ N(0, exp(x_t / 2)).

    Args:
        y: (T,), the returns; the first is seen without a move.
        mean: mean of the log variance.
        persistence: between -1 and 1.
        scale: standard deviation of a move.

    Returns: (T,), the log variances.

    >>> from lawful import handlers
    >>> handlers.seed(stochastic_volatility, jax.random.key(0))(jnp.zeros(5)).shape
    (5,)
    """
    stationary = scale / jnp.sqrt(1.0 - jnp.square(persistence))

    def step(x: jax.Array, now: tuple[Any, Any]) -> tuple[jax.Array, jax.Array]:
        first, y = now
        centre = jnp.where(first, mean, mean + persistence * (x - mean))
        x = lawful.sample("x", dist.Normal(centre, jnp.where(first, stationary, scale)))
        lawful.sample("y", dist.Normal(0.0, jnp.exp(x / 2)), obs=y)
        return x, x

    states: jax.Array = lawful.scan(step, jnp.asarray(mean, jnp.result_type(float)), (jnp.arange(len(y)) == 0, y))[1]
    return states
