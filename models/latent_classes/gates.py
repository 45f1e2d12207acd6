"""The prior of a gate: coefficients that sum to zero over classes, so that no class is the reference.

Law: the law of the coefficients is the same under every naming of the classes. A prior on the contrasts with one
reference class is not: evidence would depend on which class that is.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import lawful

__all__ = ["zero_sum_gate"]


def zero_sum_gate(covariates: int, classes: int, scale: Any = 1.0) -> jax.Array:
    """Draw the coefficients of a gate (covariates, classes): covariance scale^2 (I - 11'/K) over classes.

    A contrast of two classes has the standard deviation 1.41 scale. One class has no gate, and nothing is drawn.

    Args:
        covariates: number of covariates, the intercept among them.
        classes: number of classes K.
        scale: a number, or one a covariate.

    >>> from lawful import handlers
    >>> gate = handlers.seed(zero_sum_gate, jax.random.key(0))(3, 4)
    >>> gate.shape, bool(jnp.allclose(gate.sum(axis=1), 0.0, atol=1e-6))
    ((3, 4), True)
    """
    dtype = jnp.result_type(float)
    if classes == 1:
        return jnp.zeros((covariates, 1), dtype)
    with lawful.plate("gate_covariate", covariates):
        gate: jax.Array = lawful.sample("gate", dist.ZeroSumNormal(jnp.asarray(scale, dtype), (classes,)))
    return gate
