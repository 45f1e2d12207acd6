"""Regressions: lines, pieces of lines, and functions.

Law: the evidence of the pieces is a sum over where they may lie of products of conjugate evidences; that of a Gaussian
process given its length and height is a normal density.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import lawful

from .gaussian_process import gaussian_process

__all__ = ["bayesian_logistic", "gaussian_process", "piecewise_linear"]


def bayesian_logistic(x: Any, label: Any, scale: Any = 1.0) -> jax.Array:
    """Logistic regression: beta ~ N(0, scale^2 I), label_i ~ Bernoulli(logistic(x_i beta)).

    Args:
        x: (n, d), the covariates.
        label: (n,), 0 or 1.
        scale: prior standard deviation of a coefficient.

    Returns: (d,), the coefficients.

    >>> from lawful import handlers
    >>> handlers.seed(bayesian_logistic, jax.random.key(0))(jnp.ones((4, 2)), jnp.array([0, 1, 1, 0])).shape
    (2,)
    """
    beta: jax.Array = lawful.sample("beta", dist.Normal(jnp.zeros(x.shape[1]), scale).to_event(1))
    with lawful.plate("row", len(x)):
        lawful.sample("label", dist.Bernoulli(logits=x @ beta), obs=label)
    return beta


def piecewise_linear(
    x: Any, y: Any, *, shortest: int = 2, longest: int = 6, spread: Any = 2.0, noise: Any = 0.5
) -> jax.Array:
    """Fit a line to each of a random number of segments.

    From the first point on, each segment has a length that is uniform from `shortest` to `longest` points, and a line
    of its own, intercept and slope N(0, spread); the last segment is cut off at the last point.

    Args:
        x: (n,), places, in the order of the segments.
        y: (n,), values.
        shortest: fewest points of a segment, 1 or more.
        longest: most points of a segment.
        spread: prior standard deviation of an intercept and of a slope.
        noise: standard deviation of a value.

    Returns: the number of segments.

    Reference: Fearnhead (2006), Exact and efficient Bayesian inference for multiple changepoint problems.

    >>> from lawful import inference
    >>> x = jnp.linspace(-1.0, 1.0, 8)
    >>> result = inference.smc(piecewise_linear, particles=500)(jax.random.key(0), x, 3.0 * jnp.abs(x))
    >>> bool(result.log_evidence[0] < 0)
    True
    """
    n = len(x)
    index = jnp.arange(n)

    def unfinished(state: tuple[jax.Array, jax.Array]) -> jax.Array:
        return state[0] < n

    def segment(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        start, segments = state
        length = lawful.sample("length", dist.DiscreteUniform(shortest, longest))
        line = lawful.sample("line", dist.Normal(0.0, spread).expand([2]).to_event(1))
        inside = (index >= start) & (index < start + length)
        with lawful.mask(inside):
            lawful.sample("y", dist.Normal(line[0] + line[1] * x, noise), obs=y)
        return start + length, segments + 1

    most = -(-n // shortest)
    _, segments = lawful.bounded_loop(unfinished, segment, (0, 0), max_steps=most, name="segments")
    return lawful.deterministic("segments", segments)
