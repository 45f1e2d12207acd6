"""Exponential tilting: h + theta and g(s) - theta s are the same factor for every theta; a good one avoids underflow.

Law: no output depends on theta, so no derivative passes through it. It is chosen where the tilted law of the count and
the tilted potential have the same mean, sum_i sigma(h_i + theta) = E[s] under weights exp(g(s) - theta s): then the
count is not in a tail. The equation is solved only as far as the spread of the count makes a difference, and theta is
rounded to a multiple of 1/128, which makes theta (s - centre) exact in float32.

Arrays have members or counts first and bags last (lanes). Reference: Esscher (1932); Daniels (1954), Saddlepoint
approximations in statistics.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

STEPS = 8
QUANTUM = 128.0
LARGEST = 40.0  # a count that only an excluded known member allows may have a weight above 1, up to exp(40)


class Known(NamedTuple):
    """How many members of each bag are ones for certain (h = inf), and how many are free (h finite)."""

    ones: Float[Array, " G"]
    free: Float[Array, " G"]


class Tilted(NamedTuple):
    """The factor after tilting: probabilities of one and zero, and the potential as weights with maximum 1."""

    theta: Float[Array, " G"]
    one: Float[Array, "B G"]
    zero: Float[Array, "B G"]
    weights: Float[Array, "S G"]
    log_top: Float[Array, " G"]  # log weights of the original scale = log weights + log_top - theta (s - centre)
    centre: Float[Array, " G"]
    clipped: Bool[Array, "S G"]  # weights that did not fit


def known(h: Float[Array, "B G"]) -> Known:
    """Count the members that are ones for certain and those that are free."""
    ones = jnp.sum(h == jnp.inf, axis=0, dtype=h.dtype)
    return Known(ones, len(h) - ones - jnp.sum(h == -jnp.inf, axis=0, dtype=h.dtype))


_Pair = tuple[jax.Array, jax.Array]


@jax.custom_jvp
def chances(x: Float[Array, "*S"]) -> tuple[Float[Array, "*S"], Float[Array, "*S"]]:
    """Return sigma(x) and sigma(-x), each to relative precision.

    >>> [float(p) for p in chances(jnp.array(jnp.inf))]
    [1.0, 0.0]
    """
    small = jnp.exp(-jnp.abs(x))
    larger = 1 / (1 + small)
    smaller = small * larger
    return jnp.where(x > 0, larger, smaller), jnp.where(x > 0, smaller, larger)


@chances.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[_Pair, _Pair]:
    one, zero = chances(*primals)
    slope = one * zero * tangents[0]
    return (one, zero), (slope, -slope)


def reachable(g: Float[Array, "S G"], members: Known) -> Float[Array, "S G"]:
    """Set the potential of counts that the known members exclude to -inf."""
    s = counts_of(g)
    inside = (s >= members.ones[None]) & (s <= (members.ones + members.free)[None])
    return jnp.where(inside, g, -jnp.inf)


def counts_of(g: Float[Array, "S G"]) -> Float[Array, "S 1"]:
    """Return the counts 0, 1, ..., one for each row of a potential."""
    return jnp.arange(len(g), dtype=g.dtype)[:, None]


def tilt(h: Float[Array, "B G"], g: Float[Array, "S G"], members: Known) -> Tilted:
    """Choose theta for each bag and tilt."""
    held_h, held_g = jax.lax.stop_gradient((h, g))
    return tilt_by(h, g, members, choose(held_h, reachable(held_g, members), members))


def tilt_by(h: Float[Array, "B G"], g: Float[Array, "S G"], members: Known, theta: Float[Array, " G"]) -> Tilted:
    """Tilt by a given theta."""
    possible = jax.lax.stop_gradient(reachable(g, members))
    s = counts_of(g)
    top = jnp.argmax(possible - theta[None] * s, axis=0)
    centre = top.astype(g.dtype)
    at_centre = jnp.take_along_axis(possible, top[None], axis=0)[0]
    log_top = jnp.where(at_centre == -jnp.inf, 0, at_centre)
    exponent = g - log_top[None] - theta[None] * (s - centre[None])
    one, zero = chances(h + theta[None])
    weights = jnp.exp(jnp.minimum(exponent, LARGEST))
    # Computed apart, or they would be rounded as what uses them is compiled; one barrier each, as some may be unused.
    one, zero, weights = (jax.lax.optimization_barrier(x) for x in (one, zero, weights))
    return Tilted(theta, one, zero, weights, log_top, centre, exponent > LARGEST)


def choose(h: Float[Array, "B G"], g: Float[Array, "S G"], members: Known) -> Float[Array, " G"]:
    """Solve for theta by Newton's method in a bracket, at most eight steps."""
    ones, free = members
    some = (free > 0) & jnp.any(g > -jnp.inf, axis=0)
    is_free = jnp.isfinite(h)
    highest = jnp.max(h, axis=0, where=is_free, initial=-jnp.inf)
    lowest = jnp.min(h, axis=0, where=is_free, initial=jnp.inf)
    edge = jnp.log(2 * jnp.maximum(free, 1) - 1)  # the log odds of all but half a member
    low = jnp.where(some, -edge - highest, 0)
    high = jnp.where(some, edge - lowest, 0)
    least, most = ones + jnp.minimum(0.5, free / 2), ones + jnp.maximum(free - 0.5, free / 2)
    s = counts_of(g)

    def excess(theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        """How far the mean of the count lies above that of the potential, and the slope."""
        one, zero = chances(h + theta[None])
        level = g - theta[None] * s
        peak = jnp.max(level, axis=0)
        weights = jnp.exp(level - jnp.where(peak == -jnp.inf, 0, peak)[None])
        total = jnp.maximum(jnp.sum(weights, axis=0), 1)
        mean = jnp.sum(weights * s, axis=0) / total
        spread = jnp.sum(weights * (s - mean[None]) ** 2, axis=0) / total
        return jnp.sum(one, axis=0) - jnp.clip(mean, least, most), jnp.sum(one * zero, axis=0) + spread

    def far(state: _Search) -> jax.Array:
        return (state.step < STEPS) & jnp.any(state.far)

    def step(state: _Search) -> _Search:
        value, slope = excess(state.theta)
        low = jnp.where(value <= 0, state.theta, state.low)
        high = jnp.where(value >= 0, state.theta, state.high)
        newton = state.theta - value / jnp.maximum(slope, jnp.finfo(h.dtype).tiny)
        inside = (newton > low) & (newton < high)
        far = state.far & (jnp.abs(value) > 0.25 + 0.5 * jnp.sqrt(slope)) & (low < high)
        theta = jnp.where(far, jnp.where(inside, newton, 0.5 * (low + high)), state.theta)
        return _Search(theta, low, high, far, state.step + 1)

    start = _Search(jnp.clip(jnp.zeros_like(low), low, high), low, high, some, jnp.zeros((), jnp.int32))
    theta = jax.lax.while_loop(far, step, start).theta
    return jnp.round(theta * QUANTUM) / QUANTUM


class _Search(NamedTuple):
    theta: jax.Array
    low: jax.Array
    high: jax.Array
    far: jax.Array
    step: jax.Array
