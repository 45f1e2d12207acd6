"""Invalid weights: log densities and log weights that say nothing, NaN and +inf, beside -inf, which says zero.

Law: what is cleaned has weight zero where it said nothing, and is what it was elsewhere.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def meaningless(log_density: jax.Array) -> jax.Array:
    """Tell which logs of a density or of a weight are NaN or +inf.

    >>> meaningless(jnp.array([0.0, -jnp.inf, jnp.inf, jnp.nan])).tolist()
    [False, False, True, True]
    """
    return jnp.isnan(log_density) | (log_density == jnp.inf)


def cleaned(log_density: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Read what says nothing as zero, and count it.

    >>> logs, count = cleaned(jnp.array([0.0, jnp.inf]))
    >>> logs.tolist(), int(count)
    ([0.0, -inf], 1)
    """
    lost = meaningless(log_density)
    return jnp.where(lost, -jnp.inf, log_density), jnp.sum(lost, dtype=jnp.int32)
