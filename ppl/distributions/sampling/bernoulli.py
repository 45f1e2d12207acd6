"""Bernoulli: heads with a given probability, as rare as that is, in float32 too.

Law: P(heads) = p to 2**-46 in float32, and exactly 0 and 1 at p = 0 and 1. A uniform number of float32 is a multiple of
2**-23, so compared with p = 1e-12 it would give heads once in eight million draws; a second one refines it.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

FINE = 52  # bits of a uniform number that needs no refinement


def sample_bernoulli(key: jax.Array, distribution: Any, shape: tuple[int, ...]) -> jax.Array | None:
    """Draw in single precision, where the distribution's own draw is wrong below 1e-7; None in double precision.

    >>> sample_bernoulli(jax.random.key(0), dist.Bernoulli(jnp.float32([0.0, 1.0])), (2,)).tolist()
    [False, True]
    """
    by_logits = isinstance(distribution, dist.BernoulliLogits)
    parameter = jnp.asarray(distribution.logits if by_logits else distribution.probs)
    if not jnp.issubdtype(parameter.dtype, jnp.floating) or jnp.finfo(parameter.dtype).nmant >= FINE:
        return None
    if not by_logits:
        return jax.random.bernoulli(key, parameter, shape, mode="high")
    rarer = jax.nn.sigmoid(-jnp.abs(parameter))  # of the two sides, whose probability is told to its last bit
    return jax.random.bernoulli(key, rarer, shape, mode="high") ^ (jnp.broadcast_to(parameter, shape) > 0)
