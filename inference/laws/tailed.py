"""Tailed: a t law with the centre and the shape of a normal law, from which draws are weighed.

Law: it is the multivariate t law of the same location, of an even number of degrees of freedom, whose scale matrix is
the covariance of the normal law times the square of a factor; with none it is a normal law again. Only draws and
densities of the normal law are asked for, so that one of low rank stays one. A chi-square is a sum of exponentials, and
its constants are a table: gamma draws and functions would be most of what is compiled.

Reference: Owen (2013), Monte Carlo theory, methods and examples, 9.1: weights are bounded where the law that is drawn
from has the heavier tails.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints

__all__ = ["MOST", "Tailed"]

MOST = 8  # halves of degrees of freedom


class Tailed(dist.Distribution):
    """A t law of a vector, about the mean of a normal law.

    >>> law = Tailed(dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)), 2)
    >>> other = dist.MultivariateStudentT(4.0, jnp.zeros(2), jnp.eye(2))
    >>> abs(float(law.log_prob(jnp.ones(2)) - other.log_prob(jnp.ones(2)))) < 1e-5
    True
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector
    pytree_data_fields = ("normal", "half", "factor")

    def __init__(self, normal: dist.Distribution, half: Any, factor: Any = 1.0) -> None:
        """Keep the parts.

        Args:
            normal: law of one vector.
            half: half of the degrees of freedom, 1 to `MOST`; 0 for a normal law.
            factor: of all scales, positive.
        """
        self.normal, self.half, self.factor = normal, jnp.asarray(half), jnp.asarray(factor)
        super().__init__((), normal.event_shape, validate_args=False)

    @property
    def mean(self) -> jax.Array:
        """The centre."""
        return self.normal.mean

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw: a normal vector over the root of a chi-square by its degrees of freedom."""
        first, second = jax.random.split(key)
        away = self.normal.sample(first, sample_shape) - self.normal.mean
        terms = dist.Exponential(jnp.ones((), away.dtype)).sample(second, (*sample_shape, MOST))
        spread = jnp.sum(jnp.where(jnp.arange(MOST) < self.half, terms, 0.0), axis=-1, keepdims=True)
        spread = jnp.maximum(spread / jnp.maximum(self.half, 1), jnp.finfo(away.dtype).tiny)
        return self.normal.mean + self.factor * away * jnp.where(self.half == 0, 1.0, spread**-0.5)

    def log_prob(self, value: Any) -> jax.Array:
        """Score by the distance that the density of the normal law tells."""
        d, loc = self.event_shape[0], self.normal.mean
        top = self.normal.log_prob(loc)
        square = 2 * (top - self.normal.log_prob(loc + (value - loc) / self.factor))
        table = np.array([math.lgamma(m + d / 2) - math.lgamma(m) - d / 2 * math.log(m) for m in range(1, MOST + 1)])
        half = jnp.maximum(self.half, 1)
        tail = jnp.asarray(table, square.dtype)[half - 1] - (half + d / 2) * jnp.log1p(square / (2 * half))
        return top - d * jnp.log(self.factor) + jnp.where(self.half == 0, -square / 2, tail)
