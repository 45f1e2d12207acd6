"""Where fits start: near the truth, for studies of rates, and at random, for data.

Law: a start near the truth has the last gate pinned at 0, and its noise goes to 0 with n. A random start is the same
mixture whatever the units of the data are.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .gates import Gate
from .parameters import Parameters, Units, permuted, pinned, unstandardised

__all__ = ["near_truth", "perturbed_gate", "random_start"]


def near_truth(key: Any, truth: Parameters, order: Any, n: int) -> Parameters:
    """Start with true expert order[i] as expert i, and noise of standard deviation 0.005 n^-0.083.

    Variances get the absolute values of noise of 0.0005 n^-0.25. The gate is pinned after the noise: a last row that is
    pinned whatever expert it was given, as in earlier studies, makes starts that contradict themselves.

    >>> truth = Parameters.of([25.0, 0.0], [-8.0, 0.0], [-20.0, 20.0], [15.0, -5.0], [0.09, 0.16])
    >>> near_truth(jax.random.key(0), truth, [1, 1, 0], 1000).beta0.round(1).tolist()
    [8.0, 8.0, 0.0]
    """
    wide, narrow = 0.005 * n**-0.083, 0.0005 * n**-0.25
    told = permuted(truth, order)
    noise = [jax.random.normal(each, v.shape) for each, v in zip(jax.random.split(key, 5), told[:5], strict=True)]
    beta1, beta0, a, b = (v + wide * e for v, e in zip(told[:4], noise[:4], strict=True))
    return pinned(Parameters(beta1, beta0, a, b, told.nu + jnp.abs(narrow * noise[4]), told.tau))


def perturbed_gate(key: Any, truth: Parameters, spread: float) -> Parameters:
    """Start at the truth with relative noise in the gate: beta (1 + spread e) and tau exp(spread e)."""
    one, zero, heat = jax.random.split(key, 3)
    return truth._replace(
        beta1=truth.beta1 * (1 + spread * jax.random.normal(one, truth.beta1.shape)),
        beta0=truth.beta0 * (1 + spread * jax.random.normal(zero, truth.beta0.shape)),
        tau=truth.tau * jnp.exp(spread * jax.random.normal(heat)),
    )


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
