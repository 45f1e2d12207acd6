"""Multivariate t with whole degrees of freedom known in advance, whose scale is told with its inverse.

Law: that of `numpyro.distributions.MultivariateStudentT`. Its constants are numbers and no functions of an argument, a
solve is a product, and the chi-square is a sum of squares: a kernel that scores and draws it in the inner loop compiles
a fraction of the operations, most of which are those of the logarithm of the gamma function and of gamma draws.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from numpyro.distributions import constraints

__all__ = ["MultivariateT"]


class MultivariateT(dist.Distribution):
    """A t law of d numbers about `loc` (..., d), with the scale matrix `scale_tril` (..., d, d) times its transpose.

    >>> law = MultivariateT(5, jnp.zeros(2), jnp.eye(2))
    >>> other = dist.MultivariateStudentT(5.0, jnp.zeros(2), jnp.eye(2))
    >>> abs(float(law.log_prob(jnp.ones(2)) - other.log_prob(jnp.ones(2)))) < 1e-5
    True
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector
    pytree_data_fields = ("loc", "scale_tril", "inverse", "log_volume")
    pytree_aux_fields = ("df",)

    def __init__(self, df: int, loc: jax.Array, scale_tril: jax.Array) -> None:
        """Keep the parts, of one batch shape.

        Args:
            df: degrees of freedom, 1 or more.
            loc: (..., d).
            scale_tril: lower triangular, of a positive diagonal (..., d, d).
        """
        self.df, self.loc, self.scale_tril = df, loc, scale_tril
        unit = jnp.broadcast_to(jnp.eye(loc.shape[-1], dtype=scale_tril.dtype), scale_tril.shape)
        self.inverse = solve_triangular(scale_tril, unit, lower=True)
        self.log_volume = jnp.sum(jnp.log(jnp.diagonal(scale_tril, axis1=-2, axis2=-1)), axis=-1)
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw: a normal vector over the root of a mean of squares of others."""
        d = self.event_shape[0]
        z = jax.random.normal(key, (*sample_shape, *self.batch_shape, d + self.df), self.loc.dtype)
        scaled = z[..., :d] / jnp.sqrt(jnp.mean(z[..., d:] ** 2, axis=-1, keepdims=True))
        return self.loc + jnp.sum(self.scale_tril * scaled[..., None, :], axis=-1)

    def log_prob(self, value: Any) -> jax.Array:
        """Score."""
        df, d = self.df, self.event_shape[0]
        white = jnp.sum(self.inverse * (value - self.loc)[..., None, :], axis=-1)
        constant = math.lgamma((df + d) / 2) - math.lgamma(df / 2) - d / 2 * math.log(df * math.pi)
        return constant - self.log_volume - (df + d) / 2 * jnp.log1p(jnp.sum(white**2, axis=-1) / df)
