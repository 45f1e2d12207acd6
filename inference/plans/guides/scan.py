"""Scan: the density of a program of one or two coordinates on a grid, which moves and shrinks to where the mass is.

Law: the cells of the last grid have the masses of the density at their centres; what a guide of them misses, its
weights correct. Where there is one number, or two, no search and no fit is as cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ...kernels.base.frame import Frame
from ...laws.grid import COUNTS, WIDE, Grid, centres

REACH = 3.7  # the first grid goes to sinh(3.7), 20, on both sides: further on, scales have no place in 32 bits
ROUNDS = 8  # each shrinks the grid by 8 or more, where its cells are too large
BATCH = 64  # points that are scored at once


class Scanned(NamedTuple):
    """Parts of a law on a grid; see `laws/grid.py`."""

    loc: jax.Array
    root: jax.Array
    log_mass: jax.Array


def scanned(frame: Frame, inputs: Sequence[Any], paths: None = None) -> Scanned:
    """Scan, with no paths before."""
    size = frame.size
    units = jnp.asarray(centres(size))
    cell = 2 * WIDE / COUNTS[size - 1]
    score = partial(frame.log_density, tuple(inputs))

    def scored(points: jax.Array) -> jax.Array:
        found = jax.lax.map(score, points, batch_size=BATCH)
        return jnp.where(found < jnp.inf, found, -jnp.inf)

    def around(points: jax.Array, log_mass: jax.Array, least: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Give the mean, and the root of the covariance beside a least one."""
        share = jax.nn.softmax(jnp.where(jnp.any(jnp.isfinite(log_mass)), log_mass, 0.0))
        loc = share @ points
        away = points - loc
        return loc, jnp.linalg.cholesky((away * share[:, None]).T @ away + least)

    def on(_: int, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        points = now[0] + units @ now[1].T
        return around(points, scored(points), (cell / 2) ** 2 * now[1] @ now[1].T)

    wide = units * (REACH / WIDE)
    points, log_volume = jnp.sinh(wide), jnp.sum(jnp.log(jnp.cosh(wide)), axis=1)
    log_mass = scored(points) + log_volume
    spacing = jnp.cosh(wide[jnp.argmax(log_mass)]) * (REACH / WIDE * cell / 2)
    loc, root = jax.lax.fori_loop(0, ROUNDS, on, around(points, log_mass, jnp.diag(spacing**2)))
    found = scored(loc + units @ root.T)
    return Scanned(loc, root, jnp.where(jnp.any(jnp.isfinite(found)), found, 0.0))


def on_grid(parts: Scanned) -> Grid:
    """Give the law."""
    return Grid(*parts)
