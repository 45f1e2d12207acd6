"""Scores at a point, which a climb sees: the value, its gradient, and, where asked for, the squares of persons' scores.

Law: sums over persons, whatever the blocks that persons come in; a block holds scores of its persons alone, so that
memory does not grow with their number. Scores cost no more than the gradient, which is their sum: parameters are
spread over persons, and one reverse pass gives a column for each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["Look", "looking", "tethered"]


class Look(NamedTuple):
    """Minus the log-likelihood (), its gradient (P,), and S S' of the scores S of persons (P, P), or zeros."""

    value: jax.Array
    gradient: jax.Array
    squares: jax.Array


def looking(
    by_person: Callable[[Any, Any, Any], jax.Array], blocks: Any, persons: int
) -> Callable[[Any, Any, Any], Look]:
    """Make the function that a climb asks.

    Args:
        by_person: `by_person(free, width, block)` gives log-likelihoods (m,) of the persons of a block at a free vector
            (P, m), a column for each.
        blocks: what blocks hold; every leaf has a first axis of blocks.
        persons: m.

    Returns: `look(free, width, measured)` at a free vector (P,); squares are zeros unless `measured`.

    >>> look = looking(lambda free, width, x: -0.5 * (free[0] - x) ** 2, jnp.arange(6.0).reshape(3, 2), 2)
    >>> jax.tree.map(lambda x: x.tolist(), tuple(look(jnp.ones(1), 0.0, True)))
    (15.5, [-9.0], [[31.0]])
    """

    def of_block(free: Any, width: Any, measured: Any, block: Any) -> Look:
        wide = jnp.broadcast_to(free[:, None], (len(free), persons))
        value, scores = jax.value_and_grad(lambda wide: -jnp.sum(by_person(wide, width, block)))(wide)
        squares = jax.lax.cond(
            measured, lambda: scores @ scores.T, lambda: jnp.zeros((len(free), len(free)), free.dtype)
        )
        return Look(value, jnp.sum(scores, axis=1), squares)

    def look(free: Any, width: Any, measured: Any) -> Look:
        def with_block(sums: Look, block: Any) -> tuple[Look, None]:
            return jax.tree.map(jnp.add, sums, of_block(free, width, measured, block)), None

        if len(jax.tree.leaves(blocks)[0]) == 1:
            return of_block(free, width, measured, jax.tree.map(lambda leaf: leaf[0], blocks))
        size = len(free)
        zeros = (jnp.zeros(shape, free.dtype) for shape in ((), (size,), (size, size)))
        return jax.lax.scan(with_block, Look(*zeros), blocks)[0]

    return look


def tethered(
    look: Callable[[Any, Any, Any], Look], height: Callable[[Any], jax.Array], target: Any, pull: Any
) -> Callable[[Any, Any, Any], Look]:
    """Draw climbs towards points of a given height: minus `pull / 2 (height(x) - target)^2` is added to what is seen.

    Args:
        look: what is seen without it.
        height: a function of the free vector (P,), to ().
        target: where it is drawn to.
        pull: how strongly.

    >>> flat = looking(lambda free, width, x: 0.0 * x, jnp.zeros((1, 1)), 1)
    >>> seen = tethered(flat, lambda free: free[0], 3.0, 2.0)(jnp.ones(1), 0.0, True)
    >>> float(seen.value), seen.gradient.tolist(), seen.squares.tolist()
    (4.0, [-4.0], [[2.0]])
    """

    def tied(free: Any, width: Any, measured: Any) -> Look:
        seen = look(free, width, measured)
        value, slope = jax.value_and_grad(height)(free)
        apart = value - target
        return Look(
            seen.value + 0.5 * pull * apart**2,
            seen.gradient + pull * apart * slope,
            seen.squares + pull * jnp.outer(slope, slope),
        )

    return tied
