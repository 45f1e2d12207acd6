"""Paths read backwards: a map a step, from the state after it to its own, and the last state.

Law: x_t = map_t[x_{t+1}]. Composition of maps is associative, so a tree of them gives all states in O(log T) steps, and
the very same states.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int


def follow(maps: Int[Array, "S K"], last: Int[Array, ""]) -> Int[Array, " T"]:
    """Compose the maps in a tree, from the last state down.

    >>> follow(jnp.array([[1, 0], [1, 1], [0, 1]]), jnp.array(0)).tolist()
    [0, 1, 0, 0]
    """
    constant = jnp.broadcast_to(last, (1, maps.shape[1]))
    elements = jnp.concatenate([maps, constant.astype(maps.dtype)])
    return lax.associative_scan(_then, elements, reverse=True)[:, 0]


def _then(later: Int[Array, "*S K"], earlier: Int[Array, "*S K"]) -> Int[Array, "*S K"]:
    return jnp.take_along_axis(earlier, later, axis=-1)
