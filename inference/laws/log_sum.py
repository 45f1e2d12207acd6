"""Log sum: the log of a sum of exponentials, where nothing but minus infinities may be summed; and that of weights.

Law: -inf says zero, so a sum of nothing else is -inf, and its derivative zero.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def log_sum(terms: jax.Array, axis: int = 0) -> jax.Array:
    """Log of a sum of exponentials along an axis: -inf, with gradient zero, where all terms are -inf; NaN stays NaN.

    >>> log_sum(jnp.array([-jnp.inf, -jnp.inf])).item(), round(float(log_sum(jnp.zeros(2))), 4)
    (-inf, 0.6931)
    """
    return _log_and_shares(terms, axis)[0]


@log_sum.defjvp
def _log_sum_jvp(axis: int, terms: tuple[jax.Array], moves: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    log, shares = _log_and_shares(*terms, axis)
    return log, jnp.sum(shares * moves[0], axis=axis)


def _log_and_shares(terms: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """The log of the sum, and the share of each term in it: what a reverse pass reads, and all that it keeps."""
    top = jax.lax.stop_gradient(jnp.max(terms, axis=axis, initial=jnp.finfo(terms.dtype).min))  # finite beside -inf
    parts = jnp.exp(terms - jnp.expand_dims(top, axis))
    total = jnp.sum(parts, axis=axis)  # 0, or at least the 1 of the largest term
    log = jnp.where(top == jnp.inf, top, top + jnp.log(total))
    return log, parts / jnp.expand_dims(jnp.maximum(total, 0.5), axis)


def safe_log(weights: jax.Array) -> jax.Array:
    """Log of weights: -inf for 0, with derivative zero.

    >>> safe_log(jnp.array([1.0, 0.0])).tolist()
    [0.0, -inf]
    """
    return jnp.where(weights > 0, jnp.log(jnp.where(weights > 0, weights, 1)), -jnp.inf)
