"""Butterfly resampling: pairs of devices mix their particles, in log2 P stages.

Law: in a stage the devices of a pair, whose numbers differ in one binary digit, mean half the sum of their weights: at
each position each keeps a particle of the pair's with probability proportional to its weight, and both get the mean
weight. A stage has rows and columns that sum to one, so sum_i w'_i f(x'_i) keeps its expectation; after all stages all
weights are equal. Both devices of a pair read one uniform per position, the upper one half a turn further: each slot
keeps its law, and the two tend to take one particle each, not the same twice.

Reference: Heine, Whiteley and Cemgil (2020), Parallelizing particle filters with butterfly interactions, Scandinavian
Journal of Statistics 47; Whiteley, Lee and Heine (2016), On the role of interaction in sequential Monte Carlo
algorithms, for stopping early.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lawful.distributions.sampling.threefry import words
from lawful.errors import LawfulError

from .axis import Axis
from .islands import apart


def lower_share(low: Float[Array, "*S"], high: Float[Array, "*S"]) -> Float[Array, "*S"]:
    """Give the share of the lower device's weight in that of the pair; one where neither has any."""
    both = jnp.logaddexp(low, high)
    return jnp.where(both == -jnp.inf, 1.0, jnp.exp(low - jnp.where(both == -jnp.inf, 0.0, both)))


def uniforms(key: jax.Array, size: int, dtype: jax.typing.DTypeLike) -> Float[Array, " M"]:
    """Draw numbers in [0, 1), multiples of the smallest step for which half a turn is exact."""
    if jnp.dtype(dtype) == jnp.float64:
        high, low = words(key, (2, size)).astype(jnp.float64)
        return (high * 2.0**21 + jnp.floor(low * 2.0**-11)) * 2.0**-53
    return (words(key, (size,)) >> 8).astype(dtype) * jnp.asarray(2.0**-24, dtype)


def takes_lower(u: Float[Array, "*S"], share: Float[Array, "*T"], upper: Bool[Array, "*U"]) -> Bool[Array, "*V"]:
    """Tell at which positions a device takes the particle of the lower one of its pair.

    Args:
        u: one uniform per position; the upper device adds half a turn.
        share: the probability of the lower device's particle.
        upper: whether this is the upper device.

    >>> u, half = jnp.array([0.0, 0.25, 0.5]), jnp.array(0.5)
    >>> takes_lower(u, half, jnp.array(False)).tolist(), takes_lower(u, half, jnp.array(True)).tolist()
    ([True, True, False], [False, False, True])
    """
    turned = jnp.where(upper, jnp.where(u < 0.5, u + 0.5, u - 0.5), u)
    return turned < share


def stage(axis: Axis, key: jax.Array, distance: int, level: Float[Array, ""], values: Any) -> tuple[Any, jax.Array]:
    """Mix the particles of each pair of devices whose numbers differ by `distance`, a power of two.

    Args:
        axis: the devices.
        key: the key of the stage, the same on all devices; a pair folds the number of its lower device in.
        distance: a power of two.
        level: the log weight of this device's particles, all equal.
        values: this device's particles, a tree of arrays (M, ...).
    """
    low, high = ordered(axis, distance, level)
    size = jax.tree.leaves(values)[0].shape[0]
    keeps = keeps_own(axis, key, distance, lower_share(low, high), size)
    return jax.tree.map(lambda x: chosen(axis, distance, keeps, x), values), mixed_level(low, high)


def ordered(axis: Axis, distance: int, level: Float[Array, ""]) -> tuple[jax.Array, jax.Array]:
    """Give the log weights of the lower and of the upper device of this one's pair."""
    upper, other = (axis.index() & distance) != 0, axis.swapped(level, distance)
    return jnp.where(upper, other, level), jnp.where(upper, level, other)


def chosen(axis: Axis, distance: int, keeps: Bool[Array, " M"], part: jax.Array) -> jax.Array:
    """Take this device's particles where it keeps them, and the other's of its pair elsewhere."""
    return jnp.where(keeps.reshape(keeps.shape + (1,) * (part.ndim - 1)), part, axis.swapped(part, distance))


def keeps_own(axis: Axis, key: jax.Array, distance: int, share: Float[Array, ""], size: int) -> Bool[Array, " M"]:
    """Tell at which positions this device keeps its own particle."""
    own = axis.index()
    upper = (own & distance) != 0
    u = uniforms(jax.random.fold_in(key, own & ~distance), size, share.dtype)
    return takes_lower(u, share, upper) ^ upper


def mixed_level(one: Float[Array, "*S"], other: Float[Array, "*S"]) -> Float[Array, "*S"]:
    """Give the log of the mean of two weights."""
    return jnp.logaddexp(one, other) - math.log(2.0)


def sweep(
    axis: Axis, key: jax.Array, level: Float[Array, ""], values: Any, tau: float = 1.0
) -> tuple[Any, Float[Array, ""]]:
    """Do the stages, each only where the effective number of devices is still below tau P.

    Args:
        axis: the devices, a power of two of them.
        key: a random key, the same on all devices.
        level: the log weight of this device's particles, all equal.
        values: this device's particles, a tree of arrays (M, ...).
        tau: the fraction of the devices; 1 stops only where all weights are equal.

    Returns: the particles and their log weight.

    Raises: LawfulError: the number of devices is no power of two.
    """
    if axis.size & (axis.size - 1):
        raise LawfulError(
            f"butterfly resampling pairs devices, and {axis.size} is no power of two. Fix: resampling='exact' or "
            "'islands', or a mesh of 2, 4, 8, ... devices.",
            devices=axis.size,
        )
    for digit in range((axis.size - 1).bit_length()):
        own = jax.random.fold_in(key, digit)

        def mix(state: Any, own: jax.Array = own, digit: int = digit) -> Any:
            return stage(axis, own, 1 << digit, state[1], state[0])

        values, level = jax.lax.cond(apart(axis, level, tau), mix, lambda state: state, (values, level))
    return values, level
