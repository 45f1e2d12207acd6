"""Lanes: a function that is mapped by `jax.vmap` gets the axis of the map last instead of first.

Law: the answers are those of the function for each lane alone. Numbers that are looked up one by one are then rows,
which are copied and summed as vectors: several times as fast as one by one in each lane.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap


def lanes_last(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function have its lanes as the last axis of its arguments and results. It is not differentiable.

    Args:
        function: of something without lanes, and of arrays. Where each of these has one more axis at the end, as long
            as there are lanes or of length one, it has to do for each lane what it does without, and to give arrays so.

    >>> def first(count, x):
    ...     return x[count]
    >>> jax.vmap(lanes_last(first), in_axes=(None, 0))(2, jnp.arange(12).reshape((4, 3))).tolist()
    [2, 5, 8, 11]
    """
    mapped = custom_vmap(function)

    @mapped.def_vmap
    def rule(size: int, batched: Any, held: Any, *arrays: Any) -> Any:
        last = jax.tree.map(
            lambda x, b: jnp.moveaxis(x, 0, -1) if b else jnp.asarray(x)[..., None], arrays, tuple(batched[1:])
        )
        found = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), function(held, *last))
        return found, jax.tree.map(lambda x: True, found)

    called: Callable[..., Any] = mapped
    return called
