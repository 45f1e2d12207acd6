"""Islands: each device resamples its own particles, and its mean weight goes with it.

Law: an island's M particles get its log mean weight L each, so sum_i w'_i f(x'_i) keeps its expectation for every f,
island by island, without a word between devices. Islands drift apart: where the effective number of islands,
(sum_p e^L_p)^2 / sum_p e^(2 L_p), is below tau P, whole islands are resampled and get the mean of all. The decision
is a function of the weights, so it changes no expectation.

Reference: Verge, Dubarry, Del Moral and Moulines (2015), On parallel implementation of sequential Monte Carlo methods:
the island particle model.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..laws.resampling import ess
from ..laws.strata import systematic
from .axis import Axis
from .exact_resampling import draw_ends
from .exchange import exchanged


def within_islands(
    axis: Axis, key: jax.Array, log_weights: Float[Array, " M"], values: Any, scheme: Any = systematic
) -> tuple[Any, Float[Array, ""]]:
    """Resample this device's particles among themselves.

    The key is the same on all devices; each draws with its own number folded in. Returns: the particles, and the log
    weight of each of them, the same for all.
    """
    top = jnp.max(log_weights)
    shift = jnp.where(top == -jnp.inf, 0.0, top)
    weights = jnp.exp(log_weights - shift)
    parents = scheme.draw(jax.random.fold_in(key, axis.index()), weights, weights.shape[0])
    return jax.tree.map(lambda x: x[parents], values), shift + jnp.log(jnp.mean(weights))


def apart(axis: Axis, level: Float[Array, ""], tau: float) -> Bool[Array, ""]:
    """Tell whether the effective number of islands is below a fraction of their number, the same on all devices."""
    levels = axis.gather(level[None])
    top = jnp.max(levels)
    return ess(jnp.exp(levels - jnp.where(jnp.isfinite(top), top, 0.0))) < tau * axis.size


def between_islands(
    axis: Axis, key: jax.Array, level: Float[Array, ""], values: Any, tau: float = 0.5
) -> tuple[Any, Float[Array, ""]]:
    """Resample whole islands where they have drifted apart.

    The key is the same on all devices; `level` is the log weight of this device's particles, all equal. `tau` is the
    fraction of the islands that counts as apart; 0 never resamples them. Returns: the particles and their log weight.
    """

    def together(values: Any) -> tuple[Any, jax.Array]:
        levels = axis.gather(level[None])
        top = jnp.max(levels)
        weights = jnp.exp(levels - jnp.where(top == -jnp.inf, 0.0, top))
        ends = draw_ends(axis, key, axis.own(weights))
        moved = exchanged(axis, ends, jax.tree.map(lambda x: x[None], values))
        return jax.tree.map(lambda x: x[0], moved), top + jnp.log(jnp.mean(weights))

    return jax.lax.cond(apart(axis, level, tau), together, lambda values: (values, level), values)
