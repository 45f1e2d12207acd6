"""Weighted counts: potentials on sum_i w_i y_i with whole weights, such as numbers of persons or of items.

Law: the sum runs from the total of the negative weights to the total of the positive ones, and g has an entry for each
value in between, in that order. A member of negative weight is one that counts when it is zero. The recursion in the
log domain moves by w_i instead of by one: O(B T) for T sums.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lawful.distributions.softplus import softplus
from lawful.errors import ObservationError

from . import factor, recursion
from .arguments import check
from .chunks import over_chunks


def weighted_sums(weights: Sequence[int]) -> Int[Array, " T"]:
    """Return the values that sum_i w_i y_i runs through, one for each entry of a potential.

    >>> weighted_sums([2, -1]).tolist()
    [-1, 0, 1, 2]
    """
    whole = np.asarray(weights, np.int64).reshape(-1)
    return jnp.arange(int(whole[whole < 0].sum()), int(whole[whole > 0].sum()) + 1, dtype=jnp.int32)


def weighted_solve(h: Float[Array, "... B"], g: Float[Array, "... T"], weights: Sequence[int]) -> factor.Solved:
    """Return messages and log evidence of the factor exp(g(sum_i w_i y_i)).

    Args:
        h: log odds of the members (..., B).
        g: log potential of the sums `weighted_sums(weights)`, (..., T) or (T,).
        weights: a whole number for each member, the same in every bag.

    >>> h, g = jnp.zeros(2), jnp.array([-jnp.inf, -jnp.inf, -jnp.inf, 0.0])  # 2 a + b = 3: both
    >>> weighted_solve(h, g, [2, 1]).messages.tolist()
    [inf, inf]
    """
    whole = np.asarray(weights)
    if whole.shape != h.shape[-1:] or not np.issubdtype(whole.dtype, np.integer):
        raise ObservationError(
            f"weighted_solve: weights {weights!r} for {h.shape[-1]} members. Fix: give a whole number for each member.",
            weights=weights,
        )
    length = int(np.abs(whole).sum()) + 1
    check(h, g, "weighted_solve", length)
    shape = h.shape[:-1] if h.ndim > 1 or g.ndim == 1 else g.shape[:-1]
    sign = jnp.asarray(np.where(whole < 0, -1, 1), h.dtype)
    turned = jnp.broadcast_to(h * jnp.broadcast_to(sign, h.shape), (*shape, len(whole))).reshape(-1, len(whole))
    rows = jnp.broadcast_to(g, (*shape, length)).reshape(-1, length)
    steps = jnp.asarray(np.abs(whole), jnp.int32)

    def kernel(h: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
        one, zero = recursion.log_sums(h, g, steps)
        both = (one > -jnp.inf) & (zero > -jnp.inf)
        impossible = jnp.where(one > -jnp.inf, jnp.inf, jnp.where(zero > -jnp.inf, -jnp.inf, 0)).astype(h.dtype)
        told = jnp.where(both, jnp.where(both, one, 0) - jnp.where(both, zero, 0), impossible)
        if not len(h):
            return told, g[0]
        return told, recursion.log_add(zero[0] - softplus(h[0]), one[0] - softplus(-h[0]))

    told, log_z = over_chunks(kernel, turned, rows, lanes=max((1 << 24) // length, 1))
    return factor.Solved((told * sign[None]).reshape(*shape, len(whole)), log_z.reshape(shape))
