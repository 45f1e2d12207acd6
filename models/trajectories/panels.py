"""A panel of persons who were measured several times, as arrays with persons last.

Law: what was not measured has mask 0, and a finite outcome and time, so that it drops out of every sum; a panel without
gaps goes the same way with a mask of ones.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["Panel", "panel"]


class Panel(NamedTuple):
    """Arrays of n persons at up to J waves; persons come last, since all sums over data run along them.

    Attributes:
        y: outcomes (J, n), 0 where none was seen.
        t: times (J, n), 0 where no outcome was seen.
        mask: 1 where an outcome was seen (J, n).
        gate: 1 and the gate covariates (1 + p_g, n).
        growth: growth covariates (p_e, n).
    """

    y: jax.Array
    t: jax.Array
    mask: jax.Array
    gate: jax.Array
    growth: jax.Array

    @property
    def n(self) -> int:
        """Number of persons."""
        return self.y.shape[1]


def panel(y: Any, t: Any, gate: Any = None, growth: Any = None) -> Panel:
    """Make a panel of arrays with persons first.

    Args:
        y: outcomes (n, J), NaN where none was seen.
        t: times (n, J), or (J,) where they are the same for all; NaN only where y is.
        gate: gate covariates (n, p_g), or None.
        growth: growth covariates (n, p_e), or None.

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
    arrays = (
        np.where(seen, y, 0.0).T,
        np.where(seen, t, 0.0).T,
        seen.astype(float).T,
        np.concatenate([np.ones((n, 1)), gate], axis=1).T,
        growth.T,
    )
    return Panel(*(jnp.asarray(np.ascontiguousarray(array), jnp.result_type(float)) for array in arrays))
