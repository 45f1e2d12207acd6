"""Log sum: the log of a sum of exponentials, where nothing but minus infinities may be summed.

Law: -inf says zero, so a sum of nothing else is -inf, and its derivative zero.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def log_sum(terms: jax.Array, axis: int = 0) -> jax.Array:
    """Log of a sum of exponentials along an axis: -inf, with gradient zero, where all terms are -inf; NaN stays NaN.

    >>> log_sum(jnp.array([-jnp.inf, -jnp.inf])).item(), round(float(log_sum(jnp.zeros(2))), 4)
    (-inf, 0.6931)
    """
    top = jax.lax.stop_gradient(jnp.max(terms, axis=axis, initial=-jnp.inf))
    shift = jnp.where(jnp.isfinite(top), top, 0.0)
    total = jnp.sum(jnp.exp(terms - jnp.expand_dims(shift, axis)), axis=axis)
    none = total == 0
    return jnp.where(none, -jnp.inf, shift + jnp.log(jnp.where(none, 1.0, total)))
