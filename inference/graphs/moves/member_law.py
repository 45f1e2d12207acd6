"""Member law: who is counted in each of some bags, members independent but for how many of them are.

Law: y has probability proportional to exp(g(sum y)) prod exp(h_i y_i) in each bag, and bags are independent. A member
of log odds -inf is never counted, one of inf always. The draw takes uniforms through `push_members`.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from lawful.distributions.protocol import Law, product_grid

from ..counts import log_evidence, push_members, uniforms_needed


@dataclass(frozen=True)
class MemberLaw(Law):
    """Who is counted in each of `bags` of `size` members, given log odds and log weights of the counts."""

    bags: int
    size: int
    dtype = jnp.dtype(bool)
    label = "members of bags"

    @property
    def shape(self) -> tuple[int, ...]:
        """A truth a member."""
        return (self.bags, self.size)

    @property
    def atoms(self) -> int:
        """Number of all choices of members."""
        return 1 << self.bags * self.size

    def draw(self, key: jax.Array, odds: jax.Array, log_weights: jax.Array) -> jax.Array:
        """Draw the members of each bag."""
        u = jax.random.uniform(key, (self.bags, uniforms_needed(self.size)), odds.dtype)
        return push_members(u, odds, log_weights.astype(odds.dtype))

    def log_prob(self, value: jax.Array, odds: jax.Array, log_weights: jax.Array) -> jax.Array:
        """Give the log probability of members."""
        sure = jnp.isinf(odds)
        wrong = jnp.any(sure & (value != (odds > 0)))
        own = jnp.sum(jnp.where(value & ~sure, odds, 0.0), axis=1)
        number = jnp.sum(value, axis=1, dtype=jnp.int32)[:, None]
        whole = log_evidence(odds, log_weights.astype(odds.dtype), normalised=False, accuracy=1e-12)
        total = jnp.sum(own + jnp.take_along_axis(log_weights, number, axis=1)[:, 0] - whole)
        return jnp.where(wrong, -jnp.inf, total)

    def enumerate(self, odds: jax.Array, log_weights: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List all choices of members with their log probabilities.

        Raises: PathLimitError for too many.
        """
        grid = jnp.asarray(product_grid(2, self.bags * self.size).reshape((-1, *self.shape)).astype(np.bool_))
        return grid, jax.vmap(lambda value: self.log_prob(value, odds, log_weights))(grid)
