"""Asymptotic: the normal approximation of a hard count with its first corrections: O(B), for large variance.

Law: with p tilted so that sum_i p_i = S, V = sum p (1 - p) and kappa_3 = sum p (1 - p)(1 - 2 p), the message is
theta - (1 - 2 p_i) / (2 V) + kappa_3 / (2 V^2), within 0.15 / V^2 of the exact one; the log probability of the count is
that of the saddle point, -log(2 pi V) / 2 + kappa_4 / (8 V^2) - 5 kappa_3^2 / (24 V^3), plus what tilting took.

Reference: Daniels (1954), Saddlepoint approximations in statistics.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .tilting import chances

ERROR = 0.15  # times 1 / V^2, measured for 16 to 2048 members and logits of sd 1.5 and 4 with room to spare
POLISH = 5


def least_variance(accuracy: float) -> float:
    """Return the variance from which the messages are that accurate.

    >>> round(least_variance(1e-5), 1)
    122.5
    """
    return math.sqrt(ERROR / accuracy)


def exact_theta(h: Float[Array, "B G"], target: Float[Array, " G"], theta: Float[Array, " G"]) -> Float[Array, " G"]:
    """Polish theta by Newton's method until the tilted mean is the target, from where `tilting.choose` left it.

    The derivative of the result is that of the solution: d theta = (d target - sum p (1 - p) dh) / V.
    """
    theta = jax.lax.stop_gradient(theta)

    def correct(_: int, theta: jax.Array) -> jax.Array:
        one, zero = chances(jax.lax.stop_gradient(h) + theta[None])
        slope = jnp.maximum(jnp.sum(one * zero, axis=0), 1)
        return theta + jnp.clip((target - jnp.sum(one, axis=0)) / slope, -1, 1)

    theta = jax.lax.stop_gradient(jax.lax.fori_loop(0, POLISH, correct, theta))
    one, zero = chances(h + theta[None])
    slope = jax.lax.stop_gradient(jnp.maximum(jnp.sum(one * zero, axis=0), 1))
    return theta + (target - jnp.sum(one, axis=0)) / slope


def messages(h: Float[Array, "B G"], theta: Float[Array, " G"]) -> Float[Array, "B G"]:
    """Return the log odds sent to each member, at a theta from `exact_theta`."""
    one, zero = chances(h + theta[None])
    variance = jnp.maximum(jnp.sum(one * zero, axis=0), 1)
    skew = jnp.sum(one * zero * (zero - one), axis=0)
    return (theta + skew / (2 * variance**2))[None] - (zero - one) / (2 * variance)[None]


def log_law(h: Float[Array, "B G"], theta: Float[Array, " G"]) -> Float[Array, " G"]:
    """Return the log probability of the target under the tilted law."""
    one, zero = chances(h + theta[None])
    each = one * zero
    variance = jnp.maximum(jnp.sum(each, axis=0), 1)
    skew = jnp.sum(each * (zero - one), axis=0)
    fourth = jnp.sum(each * (1 - 6 * each), axis=0)
    return -0.5 * jnp.log(2 * jnp.pi * variance) + fourth / (8 * variance**2) - 5 * skew**2 / (24 * variance**3)
