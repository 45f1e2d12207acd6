"""Warm-up regions: how much of the posterior lies where a chain of the warm-up is, from a window of its points.

Law: estimates read points and gradients and change none; they choose among places where draws may begin.

The log mass of a region is its mean log density and its entropy, that of a normal law with the logs of its standard
deviations, d of them, in coordinates without bounds. By Hadamard's inequality the deviations of single coordinates give
too much of it where these are correlated, and the roots of their conditional precisions, which are mean squared
gradients, too little. So a region has at most the mass that the larger of both give, and at least that of the smaller:
that is conservative as well where a chain has not yet moved about. Linear maps of a coordinate change no difference.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.form.operations.device import device_array

# A region with less than exp(-10) of the mass of another is not worth a chain. Means of few points that depend on each
# other stray as single points do, whose log densities have a standard deviation of sqrt(d / 2): three of a difference.
LEAST, DEVIATIONS = 10.0, 3.0


class Window(NamedTuple):
    """Number of points, and of each chain the first and sums over all.

    They are those of log density and coordinates less the first, of squares of the latter, and of squared gradients.
    """

    points: jax.Array
    first: jax.Array
    sums: jax.Array


def window(chains: int, size: int) -> Window:
    """Begin a window of chains in so many coordinates.

    >>> window(2, 3).sums.shape
    (2, 10)
    """
    dtype = jnp.result_type(float)
    shapes = (), (chains, 1 + size), (chains, 1 + 3 * size)
    return Window(*(device_array(np.zeros(shape, dtype)) for shape in shapes))


def observed(now: Window, vector: jax.Array, log_density: jax.Array, gradient: jax.Array, counts: jax.Array) -> Window:
    """Add a point of each chain, where it counts (1, else 0)."""
    point = jnp.concatenate([log_density[:, None], vector], 1)
    first = jnp.where(now.points > 0, now.first, point)
    gap = point - first
    terms = jnp.concatenate([gap, gap[:, 1:] ** 2, gradient**2], 1)
    return Window(now.points + counts, first, jnp.where(counts > 0, now.sums + terms, now.sums))


def closed(now: Window, ends: jax.Array) -> tuple[Window, jax.Array]:
    """Close a window where it ends; gives the next one, and by how much each chain's region is below the best.

    That is zero for a chain whose region may have mass. A region has none if both its log density and its log mass lie
    below those of the best by `margin`: a volume that is small says nothing, as that of a chain that moves little is.
    A chain whose log density rises by half of that from the first to the mean is on its way, and is left to go on.

    >>> now = window(2, 1)
    >>> for x in (-1.0, 1.0):
    ...     now = observed(now, jnp.full((2, 1), x), jnp.array([0.0, -20.0]), jnp.ones((2, 1)), jnp.array(1.0))
    >>> [closed(now, jnp.array(ends))[1].round(3).tolist() for ends in (True, False)]
    [[0.0, 19.653], [0.0, 0.0]]
    """

    def at_end(now: Window) -> tuple[Window, jax.Array]:
        return now._replace(points=jnp.zeros_like(now.points), sums=jnp.zeros_like(now.sums)), _below(now)

    def before(now: Window) -> tuple[Window, jax.Array]:
        return now, jnp.zeros_like(now.sums[:, 0])

    after: tuple[Window, jax.Array] = jax.lax.cond(ends, at_end, before, now)
    return after


def margin(size: int) -> float:
    """How far below the best a region's log mass is, to be worth no chain.

    >>> margin(4)
    16.0
    """
    return LEAST + DEVIATIONS * size**0.5


def _below(now: Window) -> jax.Array:
    size = now.first.shape[1] - 1
    means = now.sums / now.points
    level, first, squares, slopes = jnp.split(means, (1, 1 + size, 1 + 2 * size), axis=1)
    height = now.first[:, 0] + level[:, 0]
    tiny = jnp.finfo(means.dtype).tiny
    # logs of variances; an element that is absent has neither
    wide = jnp.log(jnp.maximum((squares - first**2) * now.points / (now.points - 1), tiny))
    steep = jnp.where(slopes > tiny, -jnp.log(slopes), wide)
    most, least = (height + 0.5 * jnp.sum(f(wide, steep), 1) for f in (jnp.maximum, jnp.minimum))
    least = jnp.where(jnp.isfinite(least), least, -jnp.inf)
    best = jnp.max(least)
    gap = jnp.minimum(best - most, jnp.max(jnp.where(least == best, height, -jnp.inf)) - height)
    sits = level[:, 0] < margin(size) / 2  # a chain that climbs is still on its way
    return jnp.where(sits & (gap > margin(size)) & (gap < jnp.inf), gap, 0.0)
