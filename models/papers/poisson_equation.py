"""Poisson equation: a differential equation u'' = f solved as a Gaussian process that is seen through an operator.

The unknown function u is a process whose spectrum is a mixture of bumps on a grid of frequencies, so that functions
with fast oscillations are likely where some bumps are high. What is seen are the values of u at the edge and those of
its second derivative at the points inside; what is learned are the heights of the bumps and their common width. The
published solver treats the values of u as parameters and takes 1e5 to 1e6 steps; here u is integrated out exactly, so
that the hyper-parameters alone are searched or sampled, and u has moments given them in closed form.

Law: the density is that of the normal law of edge and inside, whose covariances are derivatives of the kernel, up to
the fourth; the moments of u are those of conditioning on it.

Reference: Fang, Cooley, Long, Li, Kirby, Zhe (2024), Solving high frequency and multi-scale PDEs with Gaussian
processes, arXiv:2311.04465.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import lawful

from ..covariances import Kernel, covariance, identity, laplacian, spectrum_mixture
from ..gaussian_process import Moments, Observation, observe, posterior

__all__ = ["poisson_equation", "solution"]


def poisson_equation(
    x: Any, f: Any, edge: Any, value: Any, frequency: Any, jitter: float = 1e-6, even: bool = True
) -> jax.Array:
    """Observe the values of a process at the edge and of its second derivative inside, its spectrum unknown.

    log_height_q ~ N(-log Q, 4), length ~ LogNormal(0, 1/2), u ~ GP(0, k),
    k(d) = sum_q height_q M(d / length) cos(2 pi frequency_q d), M Matern's kernel of smoothness 5/2,
    value_i ~ N(u(edge_i), jitter sd(u)), f_i ~ N(u''(x_i), jitter sd(u'')).

    Args:
        x: (n,), points inside.
        f: (n,), the right-hand side there.
        edge: (m,), points of the edge.
        value: (m,), the solution there.
        frequency: (Q,), turns for a unit of length, up to the highest that is expected.
        jitter: errors as a share of the prior standard deviations; its square is far above the rounding of a number.
        even: whether x are evenly spaced: then n lags of the kernel are computed, not n^2 pairs.

    Returns: (Q,), the heights of the bumps, variances of u.

    >>> x, frequency = jnp.linspace(0.0, 0.5, 20), jnp.linspace(0.0, 12.0, 4)
    >>> from lawful import handlers
    >>> seeded = handlers.seed(poisson_equation, jax.random.key(0))
    >>> seeded(x, -jnp.sin(x), x[:1], jnp.zeros(1), frequency, 1e-2).shape
    (4,)
    """
    bumps = len(frequency)
    log_height = lawful.sample("log_height", dist.Normal(-jnp.log(bumps), 4.0).expand([bumps]).to_event(1))
    length = lawful.sample("length", dist.LogNormal(0.0, 0.5))
    kernel = spectrum_mixture(jnp.exp(log_height), frequency, length)
    observe(kernel, _observations(kernel, x, f, edge, value, jitter, even))
    return jnp.exp(log_height)


def solution(
    values: Mapping[str, Any], points: Any, x: Any, f: Any, edge: Any, value: Any, frequency: Any, jitter: float = 1e-6,
    even: bool = True,
) -> Moments:  # fmt: skip
    """Give the moments of the solution given all data and the hyper-parameters.

    Args:
        values: "log_height" (Q,) and "length" (), as an optimum or a draw has them.
        points: (p,), where the solution is wanted.
        x: (n,), points inside.
        f: (n,), the right-hand side there.
        edge: (m,), points of the edge.
        value: (m,), the solution there.
        frequency: (Q,), as the program has it.
        jitter: as the program has it.
        even: as the program has it.

    Returns: mean (p,) and covariance (p, p).

    >>> x, edge = jnp.linspace(0.0, 3.0, 30), jnp.array([0.0, 3.0])
    >>> at = {"log_height": jnp.zeros(3), "length": 4.0}
    >>> found = solution(at, x[10:11], x, -jnp.sin(x), edge, jnp.sin(edge), jnp.linspace(0.0, 0.5, 3), 1e-3)
    >>> bool(jnp.abs(found.mean[0] - jnp.sin(x[10])) < 1e-2)
    True
    """
    kernel = spectrum_mixture(jnp.exp(values["log_height"]), jnp.asarray(frequency), values["length"])
    return posterior(kernel, _observations(kernel, x, f, edge, value, jitter, even), points)


def _observations(
    kernel: Kernel, x: Any, f: Any, edge: Any, value: Any, jitter: Any, even: bool
) -> tuple[Observation, ...]:
    """What is seen, with errors in proportion to its standard deviations before anything is seen."""

    def error(operator: Any) -> jax.Array:
        return jitter * jnp.sqrt(covariance(kernel, edge[:1], edge[:1], operator, operator)[0, 0])

    return (
        Observation(identity, edge, value, error(identity)),
        Observation(laplacian, x, f, error(laplacian), even),
    )
