"""Shrinkage: a point of a slice inside an interval, by uniform draws from an interval that shrinks to where one stands.

Law: for each number of tries the density of the path from here to there is that of a path from there to here with the
same points in between, so the uniform law on the slice stays. After the last try nothing moves, which is as symmetric.

Reference: Neal (2003), Slice sampling, sections 4.1 and 4.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ...laws.invalid_weights import cleaned


class Found(NamedTuple):
    """Where a search ended: place, log density, tries, whether none was in the slice, places without a density."""

    place: jax.Array
    log_density: jax.Array
    tries: jax.Array
    exhausted: jax.Array
    broken: jax.Array


def shrunk(
    log_density: Callable[[jax.Array], jax.Array],
    here: jax.Array,
    level: jax.Array,
    height: jax.Array,
    interval: tuple[jax.Array, jax.Array],
    uniforms: jax.Array,
    whole: jax.Array | bool = False,
) -> Found:
    """Search an interval for a point whose log density is above a height.

    Args:
        log_density: of a place.
        here: the place to start from, which lies in the interval.
        level: its log density.
        height: the log height of the slice, below the level.
        interval: its ends; of whole numbers the first lies inside, the last does not.
        uniforms: (tries,), one for each try.
        whole: whether places are whole numbers.
    """
    zero = jnp.zeros((), jnp.int32)

    def going(state: tuple[jax.Array, ...]) -> jax.Array:
        return (state[4] < uniforms.shape[0]) & ~state[5]

    def tried(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        low, high, _, _, tries, _, broken = state
        place = low + uniforms[tries] * (high - low)
        place = jnp.where(whole, jnp.clip(jnp.floor(place), low, high - 1), place)
        found, lost = cleaned(log_density(place))
        inside = found > height
        below = place < here
        low = jnp.where(~inside & below, jnp.where(whole, place + 1, place), low)
        high = jnp.where(~inside & ~below, place, high)
        return low, high, place, found, tries + 1, inside, broken + lost

    start: tuple[jax.Array, ...] = (*interval, here, level, zero, jnp.zeros((), bool), zero)
    _, _, place, found, tries, inside, broken = jax.lax.while_loop(going, tried, start)
    return Found(jnp.where(inside, place, here), jnp.where(inside, found, level), tries, ~inside, broken)


def stepped_out(
    log_density: Callable[[jax.Array], jax.Array],
    here: jax.Array,
    height: jax.Array,
    width: jax.Array,
    offset: jax.Array,
    share: jax.Array,
    steps: int,
    whole: jax.Array | bool = False,
) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    """Step out from a randomly placed interval until its ends leave the slice; gives the ends, and the steps taken.

    Args:
        log_density: of a place.
        here: the place to start from.
        height: the log height of the slice.
        width: of the interval, and of a step.
        offset: in [0, 1), where `here` lies in the first interval.
        share: in [0, 1), how the steps are shared between the two ends.
        steps: largest number of widths, as in Neal's m.
        whole: whether places are whole numbers.
    """
    back = offset * width
    low = here - jnp.where(whole, jnp.floor(back), back)
    left = jnp.floor(share * steps).astype(jnp.int32)

    def walk(end: jax.Array, step: jax.Array, most: jax.Array) -> tuple[jax.Array, jax.Array]:
        def going(state: tuple[jax.Array, jax.Array]) -> jax.Array:
            return (state[1] < most) & (cleaned(log_density(state[0]))[0] > height)

        return jax.lax.while_loop(going, lambda s: (s[0] + step, s[1] + 1), (end, jnp.zeros((), jnp.int32)))

    first, taken = walk(low, -width, left)
    last, more = walk(low + width, width, steps - 1 - left)
    return (first, last), taken + more
