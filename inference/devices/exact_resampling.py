"""Exact resampling across devices: systematic resampling with the law, and the bits, of one device.

Law: |offspring_i - N w_i / sum(w)| < 1, E[offspring_i] = N w_i / sum(w), and the new weights are sum(w) / N each, so
E[sum_i w'_i f(x'_i)] = sum_i w_i f(x_i) for every f. Offspring do not depend on the number of devices: they are counted
in integers, and the floats are summed in fixed blocks. Equal weights give the identity; weights without a finite
positive sum leave every particle where it is.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from lawful.distributions.sampling.threefry import words

from ..laws.strata import ancestors_from_ends, expected_offspring, uniform_units
from .axis import Axis


def offspring_ends(axis: Axis, u: Shaped[Array, ""], weights: Float[Array, " M"]) -> Int[Array, " M"]:
    """Count the offspring of all particles up to each of this device's.

    The uniform is the same on all devices: a float in [0, 1), or an unsigned word read as word / 2**width. Weights are
    linear, of any scale that all devices share.
    """
    particles = axis.count(weights)
    expected = expected_offspring(weights, particles, axis)
    return expected.ends(uniform_units(u, weights, particles), axis)


def draw_ends(axis: Axis, key: jax.Array, weights: Float[Array, " M"]) -> Int[Array, " M"]:
    """Draw the uniform from the key, with as many random bits as the weights can tell apart, and count."""
    if weights.dtype == jnp.float64:
        both = words(key, (2,)).astype(jnp.uint64)
        return offspring_ends(axis, (both[0] << 32) | both[1], weights)
    return offspring_ends(axis, words(key, ()), weights)


def ancestors(axis: Axis, ends: Int[Array, " M"]) -> Int[Array, " N"]:
    """List the ancestors of all slots, on every device."""
    return ancestors_from_ends(axis.gather(ends), axis.count(ends))
