"""Grid: a law of one or two numbers with a mass in each cell of a grid, and heavy tails around.

Law: the density is that of the cell over its volume, mixed with a small share of a t law, so that it is normalised and
reaches every value. Where cells are small beside what a density changes over, weights for that density are nearly even.

Reference: Ritter and Tanner (1992), Facilitating the Gibbs sampler: the Gibbs stopper and the griddy-Gibbs sampler.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import ndtri
from numpyro.distributions import constraints

from .tailed import Tailed

__all__ = ["Grid", "centres"]

WIDE = 9.0  # units from the middle to the edge
TAILS = 0.02  # share of the t law
HALF = 2  # of its degrees of freedom
COUNTS = (384, 64)  # cells along each axis, of one number and of two


def centres(size: int) -> np.ndarray:
    """List the centres of the cells (cells, size), in units.

    >>> centres(1).shape, centres(2).shape
    ((384, 1), (4096, 2))
    """
    count = COUNTS[size - 1]
    line = WIDE * (2 * (np.arange(count) + 0.5) / count - 1)
    return np.stack(np.meshgrid(*[line] * size, indexing="ij"), axis=-1).reshape(-1, size)


class Grid(dist.Distribution):
    """A law of a vector of one or two numbers, with cells in the units of a normal law.

    >>> even = Grid(jnp.zeros(1), jnp.eye(1), jnp.zeros(384))
    >>> inside, far = float(even.log_prob(jnp.array([5.0]))), float(even.log_prob(jnp.array([10.0])))
    >>> bool(abs(np.exp(inside) - 0.98 / 18) < 1e-4), far > -20
    (True, True)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector
    pytree_data_fields = ("loc", "root", "log_mass")

    def __init__(self, loc: jax.Array, root: jax.Array, log_mass: jax.Array) -> None:
        """Keep the parts.

        Args:
            loc: where the middle is.
            root: lower triangular; units of the grid.
            log_mass: of the cells, to a constant.
        """
        self.loc, self.root, self.log_mass = loc, root, log_mass
        super().__init__((), loc.shape, validate_args=False)

    @property
    def mean(self) -> jax.Array:
        """The middle of the grid."""
        return self.loc

    @property
    def tails(self) -> Tailed:
        """The law around."""
        return Tailed(dist.MultivariateNormal(self.loc, scale_tril=self.root), HALF)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw: a cell, and a place in it; or from the tails.

        All numbers are made of one array of uniform ones, as each call of a generator takes long to compile.
        """
        size, dtype = self.event_shape[0], self.loc.dtype
        least = float(jnp.finfo(dtype).tiny)
        noise = dist.Uniform(jnp.asarray(least, dtype), 1.0).sample(key, (*sample_shape, 2 + 2 * size + HALF))
        which, below, *rest = jnp.split(noise, [1, 2, 2 + size, 2 + 2 * size], axis=-1)
        place, away, terms = rest
        share = jnp.cumsum(jax.nn.softmax(self.log_mass))
        cell = jnp.minimum(jnp.searchsorted(share, below[..., 0] * share[-1], side="right"), len(share) - 1)
        half = WIDE / COUNTS[size - 1]
        unit = jnp.asarray(centres(size), dtype)[cell] + half * (2 * place - 1)
        spread = -jnp.sum(jnp.log(terms), axis=-1, keepdims=True) / HALF  # a chi-square over its degrees of freedom
        unit = jnp.where(which < TAILS, ndtri(away) * spread**-0.5, unit)
        return self.loc + unit @ self.root.T

    def log_prob(self, value: Any) -> jax.Array:
        """Score."""
        size = self.event_shape[0]
        count = COUNTS[size - 1]
        inverse = solve_triangular(self.root, jnp.eye(size, dtype=self.root.dtype), lower=True)
        place = jnp.floor(((value - self.loc) @ inverse.T / WIDE + 1) * count / 2).astype(int)
        inside = jnp.all((place >= 0) & (place < count), axis=-1)
        place = jnp.clip(place, 0, count - 1)
        cell = place[..., 0] if size == 1 else place[..., 0] * count + place[..., 1]
        volume = size * jnp.log(2 * WIDE / count) + jnp.sum(jnp.log(jnp.diag(self.root)))
        log_cell = jax.nn.log_softmax(self.log_mass)[cell] - volume
        log_cell = jnp.where(inside, log_cell, -jnp.inf)
        return jnp.logaddexp(np.log1p(-TAILS) + log_cell, np.log(TAILS) + self.tails.log_prob(value))
