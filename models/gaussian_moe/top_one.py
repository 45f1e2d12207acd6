"""The exact fit of two experts with a top-1 gate of one covariate: a line on each side of a boundary.

The likelihood reads the gate through the partition alone, and the partition through where the sorted covariates are
cut, so it is the largest of n values: both lines of every cut come from cumulative sums, in O(n) after the sort.

Law: no cut has a larger likelihood. The boundary is half way between the two covariates that it separates.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .parameters import Parameters

__all__ = ["fit_top_one"]


def fit_top_one(
    x: Float[Array, " n"], y: Float[Array, " n"], floor: Any = 1e-6, least: int = 3
) -> tuple[Parameters, Float[Array, ""]]:
    """Fit the boundary and both lines.

    Args:
        x: the covariate (n,).
        y: the answers (n,).
        floor: least variance of an expert, as a share of the variance of y.
        least: fewest rows on a side.

    Returns: the parameters, the expert of the larger x first, with beta1 = (1, 0) and beta0 = (-boundary, 0), since the
        scale of the gate is not identified; and the log likelihood, -inf where no boundary leaves enough rows.

    >>> x = jnp.arange(8.0)
    >>> found, _ = fit_top_one(x, jnp.where(x < 3.5, x, 10.0 - x))
    >>> -float(found.beta0[0]), found.a[:, 0].round(6).tolist()
    (3.5, [-1.0, 1.0])
    """
    n = len(x)
    order = jnp.argsort(x, stable=True)
    middle, level = jnp.mean(x), jnp.mean(y)
    u, v = x[order] - middle, y[order] - level
    each = jnp.stack([jnp.ones_like(u), u, v, u * u, u * v, v * v])
    left = _Lines(jnp.cumsum(each, axis=1))
    # Summed from the right: a difference of sums would leave few rows on that side with nothing but rounding.
    after = jnp.pad(each[:, 1:], [(0, 0), (0, 1)])
    right = _Lines(lax.cumsum(after, axis=1, reverse=True))
    smallest = floor * jnp.var(y)
    value = left.log_likelihood(smallest) + right.log_likelihood(smallest)
    cut = jnp.arange(1, n + 1)
    allowed = (cut >= least) & (cut <= n - least) & (u < jnp.roll(u, -1))  # equal covariates are not separated
    value = jnp.where(allowed, value, -jnp.inf)
    best = jnp.argmax(value)
    boundary = 0.5 * (u[best] + u[jnp.minimum(best + 1, n - 1)]) + middle
    lines = [side.at(best, smallest) for side in (right, left)]
    a, b, nu = (jnp.stack(each) for each in zip(*lines, strict=True))
    zero = jnp.zeros_like(boundary)
    parameters = Parameters(
        beta1=jnp.stack([zero + 1, zero])[:, None],
        beta0=jnp.stack([-boundary, zero]),
        a=a[:, None],
        b=b - a * middle + level,
        nu=nu,
        tau=zero + 1,
    )
    return parameters, value[best]


class _Lines:
    """Least squares of every cut, from the moments 1, u, v, uu, uv, vv of one side (6, n)."""

    def __init__(self, moments: jax.Array) -> None:
        self.count = moments[0]
        some = jnp.maximum(self.count, 1.0)
        self.u, self.v = moments[1] / some, moments[2] / some
        uu, uv, vv = (moments[3 + i] - some * m for i, m in enumerate((self.u**2, self.u * self.v, self.v**2)))
        self.slope = jnp.where(uu > 0, uv / jnp.where(uu > 0, uu, 1.0), 0.0)
        self.variance = jnp.maximum(vv - self.slope * uv, 0.0) / some

    def log_likelihood(self, floor: jax.Array) -> jax.Array:
        nu = jnp.maximum(self.variance, floor)
        return -0.5 * self.count * (jnp.log(2 * jnp.pi * nu) + self.variance / nu)

    def at(self, cut: jax.Array, floor: jax.Array) -> tuple[jax.Array, ...]:
        slope = self.slope[cut]
        return slope, self.v[cut] - slope * self.u[cut], jnp.maximum(self.variance[cut], floor)
