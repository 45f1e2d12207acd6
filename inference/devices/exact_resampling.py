"""Exact resampling across devices: systematic resampling with the law, and the bits, of one device.

Law: |offspring_i - N w_i / sum(w)| < 1, E[offspring_i] = N w_i / sum(w), and the new weights are sum(w) / N each, so
E[sum_i w'_i f(x'_i)] = sum_i w_i f(x_i) for every f. Offspring do not depend on the number of devices: they are counted
in integers, and the floats are summed in fixed blocks. Equal weights give the identity; weights without a finite
positive sum leave every particle where it is.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from lawful.distributions.sampling.threefry import words

from ..laws.strata import ancestors_from_ends, expected_offspring, uniform_units
from .axis import Axis
from .exchange import exchanged, gathered


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


def scaled(axis: Axis, log_weights: Float[Array, " M"]) -> tuple[Float[Array, " M"], Float[Array, ""]]:
    """Give linear weights, the largest of all devices one, and the log of the scale; a dead population is all zero."""
    top = axis.maximum(log_weights)
    shift = jnp.where(top == -jnp.inf, 0.0, top)
    return jnp.exp(log_weights - shift), shift


def resampled(
    axis: Axis, key: jax.Array, log_weights: Float[Array, " M"], values: Any, *, by: str = "neighbours"
) -> tuple[Any, Float[Array, " M"], Float[Array, ""]]:
    """Resample the population of all devices.

    Args:
        axis: the devices.
        key: a random key, the same on all of them.
        log_weights: natural logs of the weights of this device's particles; -inf allowed.
        values: this device's particles, a tree of arrays (M, ...).
        by: how particles move: "neighbours", in rounds of fixed size and memory O(M); or "gather", which puts the whole
            population on every device. Both give the same bits.

    Returns: the particles, their log weights, all equal, and the log mean weight, which is the evidence and is -inf
        where no particle has weight: then nothing has moved.

    >>> import functools
    >>> axis, x = Axis("p", 2), jnp.arange(4.0).reshape(2, 2)
    >>> draw = functools.partial(resampled, axis, jax.random.key(0))
    >>> kept, log_weights, log_mean = jax.vmap(draw, axis_name="p")(jnp.zeros((2, 2)), x)
    >>> kept.tolist(), log_mean.tolist()
    ([[0.0, 1.0], [2.0, 3.0]], [0.0, 0.0])
    """
    weights, shift = scaled(axis, log_weights)
    total = axis.total(weights)
    log_mean = jnp.where(total > 0, shift + jnp.log(total / axis.count(weights)), -jnp.inf)
    log_mean = jnp.where(jnp.isnan(total), jnp.nan, log_mean)
    ends = draw_ends(axis, key, weights)
    move = {"neighbours": exchanged, "gather": gathered}[by]
    return move(axis, ends, values), jnp.full_like(log_weights, log_mean), log_mean
