"""Starts of chains: maxima of the density that are not far below the highest one.

Law: a start changes no target. A chain that begins in a minor mode, as the one of prey and predators in which all is
noise, would stay there for the whole run; that mode has e^-40 of the density and no share of the draws.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

import lawful

TRIES = 4  # for each chain
NEAR = 20.0  # a mode farther below would need e^20 times the volume of the highest to hold as many draws
STEPS = 300


def starts(density: lawful.Density, key: jax.Array, chains: int) -> dict[str, jax.Array]:
    """Give each chain a start in coordinates without bounds.

    Each is climbed to from a point of the cube [-2, 2] of finite density and gradient.

    >>> import numpyro.distributions as dist
    >>> coin = lawful.density(lambda: lawful.sample("p", dist.Beta(2.0, 2.0)))
    >>> starts(coin, jax.random.key(0), 3)["p"].shape
    (3,)
    """
    _, unravel = density.ravel()
    downhill = jax.jit(jax.value_and_grad(lambda x: -density.logp(unravel(x))))

    def climb(key: jax.Array) -> tuple[float, np.ndarray]:
        begun, _ = density.ravel(density.initial(key))
        found = minimize(_finite(downhill), np.asarray(begun), jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
        return float(found.fun), found.x

    climbed = [climb(key) for key in jax.random.split(key, TRIES * chains)]
    lowest = min(value for value, _ in climbed)
    near = [point for value, point in climbed if value < lowest + NEAR]
    chosen = [unravel(jnp.asarray(near[i % len(near)])) for i in range(chains)]
    return {name: jnp.stack([start[name] for start in chosen]) for name in density.names}


def _finite(function: Any) -> Any:
    """Give a wall where the density is no number, so that a line search turns back."""

    def run(point: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = function(point)
        inside = np.isfinite(value) and np.isfinite(slope).all()
        return (float(value), np.asarray(slope)) if inside else (1e10, np.zeros_like(point))

    return run
