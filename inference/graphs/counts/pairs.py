"""Pairs: P(y_i = 1, y_j = 1) given the factor, for all pairs of a bag.

Law: it is P(y_i = 1) P(y_j = 1 | y_i = 1), the second from the messages with member i known to be one, so known members
and counts of probability zero give exact zeros; the diagonal holds P(y_i = 1), and rows and columns are averaged. That
is a run of the messages for each member, O(B^3).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from . import factor
from .arguments import rows
from .tilting import chances


def marginals(
    h: Float[Array, "... B"], g: Float[Array, "... S"], *, negated: Bool[Array, " ..."] | None = None
) -> Float[Array, "... B"]:
    """Return P(y_i = 1) given the factor; 0 in an impossible bag.

    Args:
        h: log odds of the members (..., B).
        g: log potential of the counts (..., B + 1).
        negated: members that count when they are zero.

    >>> marginals(jnp.zeros(2), jnp.array([-jnp.inf, 0.0, -jnp.inf])).tolist()
    [0.5, 0.5]
    """
    at = rows(h, g, negated, "marginals")
    one = _after(at.h, at.g)
    return at.bags(one if at.sign is None else jnp.where(at.sign < 0, 1 - one, one))


def pair_marginals(
    h: Float[Array, "... B"], g: Float[Array, "... S"], *, negated: Bool[Array, " ..."] | None = None
) -> Float[Array, "... B B"]:
    """Return P(y_i = 1, y_j = 1) given the factor for all pairs; 0 in an impossible bag.

    Args:
        h: log odds of the members (..., B).
        g: log potential of the counts (..., B + 1).
        negated: members that count when they are zero.

    >>> joint = pair_marginals(jnp.zeros(2), jnp.array([-jnp.inf, 0.0, 0.0]))  # at least one of two
    >>> [[round(float(p), 4) for p in row] for row in joint]
    [[0.6667, 0.3333], [0.3333, 0.6667]]
    """
    at = rows(h, g, negated, "pair_marginals")
    bags, size = at.h.shape
    one = _after(at.h, at.g)

    def given(i: jax.Array) -> jax.Array:
        known_one = jnp.where((jnp.arange(size, dtype=jnp.int32) == i)[None], jnp.inf, at.h)
        rest = jnp.where((jnp.arange(size, dtype=jnp.int32) == i)[None], 1, _after(known_one, at.g))
        mine = jnp.take(one, i, axis=1)
        return jnp.where(mine[:, None] > 0, mine[:, None] * rest, 0)

    joint = jax.lax.map(given, jnp.arange(size, dtype=jnp.int32)).swapaxes(0, 1)
    joint = 0.5 * (joint + joint.swapaxes(1, 2))
    if at.sign is not None:  # P(not a, b) = P(b) - P(a, b), and so on
        turned = at.sign < 0
        down, across = one[:, :, None], one[:, None, :]
        left = jnp.where(turned[:, :, None], across - joint, joint)
        other = jnp.where(turned[:, :, None], 1 - down, down)
        joint = jnp.where(turned[:, None, :], other - left, left)
        own = jnp.where(turned, 1 - one, one)
        joint = jnp.where(jnp.eye(size, dtype=bool)[None], own[:, :, None], joint)
    return at.bags(joint)


def _after(h: Float[Array, "G B"], g: Float[Array, "G S"]) -> Float[Array, "G B"]:
    told, log_z = factor.solve(h, g)
    real = (log_z > -jnp.inf)[:, None]
    return jnp.where(real, chances(jnp.where(real, h + told, 0))[0], 0)
