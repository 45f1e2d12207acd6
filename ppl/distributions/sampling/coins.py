"""Coins: heads with a given probability, as rare as that is, in float32 too.

Law: P(heads) = p to 2**-46 in float32 and to 2**-52 in float64, and exactly 0 and 1 at p = 0 and 1. A uniform number
of float32 is a multiple of 2**-23, so compared with p = 1e-12 it would give heads once in eight million flips; a second
one refines it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

FINE = 52  # bits of a uniform number that needs no refinement


def flip(key: jax.Array, probability: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
    """Flip coins.

    Args:
        key: a typed random key.
        probability: of heads, of a shape that broadcasts to `shape`; where it is NaN the coin shows tails.
        shape: of the result.

    Returns: truth values of `shape`.

    >>> flip(jax.random.key(0), jnp.array([0.0, 1.0]), (2,)).tolist()
    [False, True]
    """
    dtype = probability.dtype
    if jnp.finfo(dtype).nmant >= FINE:
        return jax.random.uniform(key, shape, dtype) < probability
    first, second = jax.random.uniform(key, (2, *shape), dtype)
    return heads(first, second, probability)


def heads(first: jax.Array, second: jax.Array, probability: jax.Array) -> jax.Array:
    """Compare a probability with a uniform number in two parts, of which the second refines the first.

    >>> bool(heads(jnp.float32(0.0), jnp.float32(0.5), jnp.float32(1e-12)))
    False
    """
    step = 2.0 ** -jnp.finfo(first.dtype).nmant
    return second * step < probability - first  # the difference is exact where the two are near each other


class Coin(NamedTuple):
    """The rarer side of a coin: its probability, and whether it stands for zero."""

    probability: jax.Array
    turned: jax.Array | bool


def coarse_coin(distribution: Any, shape: tuple[int, ...]) -> Coin | None:
    """Give a coin in single precision, whose own draw is wrong below 1e-7; None in double precision."""
    by_logits = isinstance(distribution, dist.BernoulliLogits)
    parameter = jnp.asarray(distribution.logits if by_logits else distribution.probs)
    if not jnp.issubdtype(parameter.dtype, jnp.floating) or jnp.finfo(parameter.dtype).nmant >= FINE:
        return None
    parameter = jnp.broadcast_to(parameter, shape)
    if by_logits:
        return Coin(jax.nn.sigmoid(-jnp.abs(parameter)), parameter > 0)
    return Coin(parameter, False)
