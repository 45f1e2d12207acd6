"""Panels of persons who were measured several times, as arrays with persons last.

Law: what was not measured has mask 0, and a finite outcome and time, so that it drops out of every sum; a panel without
gaps goes the same way with a mask of ones.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["Panel", "in_blocks", "panel", "taken"]

BLOCK = 2048  # persons whose arrays stay near the processor


class Panel(NamedTuple):
    """Arrays of n persons at up to J waves; persons come last, since all sums over data run along them.

    Attributes:
        y: outcomes (J, n), 0 where none was seen.
        t: times (J, n), 0 where no outcome was seen.
        mask: 1 where an outcome was seen (J, n).
        gate: 1 and the gate covariates (1 + p_g, n).
        growth: growth covariates (p_e, n).
        varying: time-varying covariates (p_v, J, n), 0 where no outcome was seen; None where there are none.
    """

    y: jax.Array
    t: jax.Array
    mask: jax.Array
    gate: jax.Array
    growth: jax.Array
    varying: jax.Array | None = None

    @property
    def n(self) -> int:
        """Number of persons."""
        return self.y.shape[1]


def panel(y: Any, t: Any, gate: Any = None, growth: Any = None, varying: Any = None) -> Panel:
    """Make a panel of arrays with persons first.

    Args:
        y: outcomes (n, J), NaN where none was seen.
        t: times (n, J), or (J,) where they are the same for all; NaN only where y is.
        gate: gate covariates (n, p_g), or None.
        growth: growth covariates (n, p_e), or None.
        varying: time-varying covariates (n, J) or (n, J, p_v), or None; they are read where an outcome was seen.

    Returns: the panel; floating precision is JAX's default.

    >>> made = panel([[1.0, 2.0], [3.0, float("nan")]], [0.0, 1.0])
    >>> made.mask.tolist(), made.gate.shape, made.growth.shape
    ([[1.0, 1.0], [1.0, 0.0]], (1, 2), (0, 2))
    """
    y = np.asarray(y, float)
    t = np.broadcast_to(np.asarray(t, float), y.shape)
    n = len(y)
    seen = np.isfinite(y)
    gate = np.zeros((n, 0)) if gate is None else np.asarray(gate, float)
    growth = np.zeros((n, 0)) if growth is None else np.asarray(growth, float)
    arrays: tuple[np.ndarray, ...] = (
        np.where(seen, y, 0.0).T,
        np.where(seen, t, 0.0).T,
        seen.astype(float).T,
        np.concatenate([np.ones((n, 1)), gate], axis=1).T,
        growth.T,
    )
    if varying is not None:
        varying = np.asarray(varying, float).reshape(*y.shape, -1)
        arrays = (*arrays, np.moveaxis(np.where(seen[..., None], varying, 0.0), -1, 0).swapaxes(1, 2))
    return Panel(*(jnp.asarray(np.ascontiguousarray(array), jnp.result_type(float)) for array in arrays))


def in_blocks(panel: Panel, size: int = BLOCK) -> tuple[Panel, jax.Array | None]:
    """Cut a panel into blocks of persons, one block up to twice the size.

    Args:
        panel: n persons.
        size: persons of a block.

    Returns: the panel, each leaf with a first axis of blocks; and which persons are there (blocks, size), or None where
        all are: the last block is filled up with persons of whom nothing was seen.

    >>> made = panel(np.zeros((5, 2)), [0.0, 1.0])
    >>> blocks, live = in_blocks(made, 2)
    >>> blocks.y.shape, live.tolist()
    ((3, 2, 2), [[True, True], [True, True], [True, False]])
    """
    n = panel.n
    if n <= 2 * size:
        return jax.tree.map(lambda leaf: leaf[None], panel), None
    count = -(-n // size)

    def cut(leaf: jax.Array) -> jax.Array:
        filled = jnp.pad(leaf, [(0, 0)] * (leaf.ndim - 1) + [(0, count * size - n)])
        return jnp.moveaxis(filled.reshape(*leaf.shape[:-1], count, size), -2, 0)

    return jax.tree.map(cut, panel), jnp.arange(count * size).reshape(count, size) < n


def taken(panel: Panel, persons: np.ndarray) -> Panel:
    """Give the panel of some persons.

    >>> taken(panel([[1.0], [2.0], [3.0]], [0.0]), np.array([2, 0])).y.tolist()
    [[3.0, 1.0]]
    """
    return jax.tree.map(lambda leaf: leaf[..., persons], panel)
