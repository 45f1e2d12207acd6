"""A weak penalty that keeps covariances off the boundary: the log prior density of the Bayesian fit, up to constants.

Law: with standard deviations D and correlations Omega of the growth factors (and of growth covariates), `sum_j (log
D_j - D_j / d_j) + log det Omega` for each class, and a normal density of SD 1 of the gate's coefficients, which sum
to zero over classes. It is -inf where a covariance is singular.

Source: specification sections 8.6 and 9.1.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from .parameters import Model, Parameters

__all__ = ["log_penalty"]

SLOPE = 2.0  # typical SD of a slope, and
SHAPE = 0.25  # of a person's own shape, in standard units


def log_penalty(parameters: Parameters, model: Model) -> jax.Array:
    """Give the penalty at parameters in standard units, for each entry of the last axis of their leaves (m,).

    >>> model = Model("LIN", 1)
    >>> one = jnp.ones((1, 1))
    >>> at = Parameters(one[None], jnp.ones((1, 2, 1)), one[:, :0, None], jnp.ones((1, 2, 0, 1)),
    ...     jnp.eye(2)[None, :, :, None], one, one[:, :0, None], jnp.ones((1, 0, 0, 1)))
    >>> log_penalty(at, model).tolist()  # -1 / 1 - 1 / 2
    [-1.5]
    """
    scales = [SHAPE] * model.intrinsic + [1.0 if power == 0 else SLOPE for power in model.form.powers]
    found = _kept_regular(parameters.chol, np.array(scales))
    if model.joint and model.p_growth:
        found = found + _kept_regular(parameters.x_chol, np.ones(model.p_growth))
    centred = parameters.gate - jnp.mean(parameters.gate, axis=0, keepdims=True)
    return found - 0.5 * jnp.sum(centred**2, axis=(0, 1))


def _kept_regular(chol: jax.Array, scales: np.ndarray) -> jax.Array:
    size = chol.shape[1]
    variance = jnp.sum(chol**2, axis=2)
    diagonal = chol[:, np.arange(size), np.arange(size)] ** 2
    spread = jnp.sqrt(variance) / jnp.asarray(scales, chol.dtype)[None, :, None]
    each = 0.5 * jnp.log(variance) - spread + jnp.log(diagonal) - jnp.log(variance)
    return jnp.sum(each, axis=(0, 1))
