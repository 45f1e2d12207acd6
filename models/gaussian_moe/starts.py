"""Where fits start: at random, about the line of least squares.

Law: a random start is the same mixture whatever the units of the data are.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .gates import Gate
from .parameters import Parameters, Units, unstandardised

__all__ = ["random_start"]


@partial(jax.jit, static_argnames=("k", "gate"))
def random_start(key: Any, x: Float[Array, "n d"], y: Float[Array, " n"], k: int, gate: Gate = Gate()) -> Parameters:
    """Start with lines about that of least squares, as far off as the answers spread, and a gate that is almost even.

    >>> x = jnp.linspace(0.0, 1.0, 9)[:, None]
    >>> random_start(jax.random.key(0), x, x[:, 0], 3).a.shape
    (3, 1)
    """
    d, one = x.shape[1], jnp.ones((), x.dtype)
    units = Units.of(x, y)
    z, v = (x - units.x_mean[None]) / units.x_scale[None], (y - units.y_mean) / units.y_scale
    line = jnp.linalg.lstsq(jnp.concatenate([z, jnp.ones((len(y), 1), x.dtype)], axis=1), v)[0]
    lines = line[None] + jax.random.normal(key, (k, d + 1), x.dtype)
    score = 0.1 * jax.random.normal(jax.random.fold_in(key, 1), (k, d + 1), x.dtype)
    inside = Parameters(score[:, :-1], score[:, -1], lines[:, :-1], lines[:, -1], jnp.full((k,), one), one)
    start = unstandardised(inside, units)
    # A gate with an origin has no intercept that takes up the means of the covariates.
    return start if gate.affine else start._replace(beta0=inside.beta0)
