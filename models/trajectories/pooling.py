"""A penalty that pools the classes in part: each borrows persons from what all have in common.

Law: for a number m of borrowed persons it is `-m` times the sum over classes of the Kullback-Leibler divergence of a
class's law of deviations from their common one, which is Box's M for m persons a class. It is zero where classes differ
in curves and sizes alone, at most zero, and the same under any naming of the classes.

Deviations are those of growth covariates from the mean of all and of growth factors from the curve of their class,
jointly, so that effects of covariates count; of outcomes from the curve of their person, one for each wave; and of
time-varying covariates from the means of their waves.

Source: Box 1949, "A general distribution theory for a class of likelihood criteria"; Friedman 1989, "Regularized
discriminant analysis".
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .parameters import Model, Parameters, Varying

__all__ = ["Pooling", "log_pooling"]


class Pooling(NamedTuple):
    """How much each class borrows: a number of persons, and the outcomes of one of them."""

    persons: Any
    outcomes: Any


def log_pooling(parameters: Parameters, model: Model, pooling: Pooling) -> jax.Array:
    """Give the penalty at parameters in standard units, for each entry of the last axis of their leaves (m,).

    >>> model = Model("LIN", 2)
    >>> gate, mean, empty = jnp.zeros((2, 1, 1)), jnp.arange(4.0).reshape(2, 2, 1), jnp.ones((2, 0, 1))
    >>> at = Parameters(gate, mean, empty, jnp.ones((2, 2, 0, 1)), jnp.stack([jnp.eye(2)] * 2)[..., None],
    ...     jnp.asarray([[1.0], [4.0]]), empty, jnp.ones((2, 0, 0, 1)))
    >>> log_pooling(at, model, Pooling(10.0, 3.0)).round(3).tolist()  # 10 * 3 / 2 * (log 4 - 2 log 2.5)
    [-6.694]
    """
    varying = parameters.varying
    moved = 0.0 if varying is None else jnp.sum(_about_common(varying.effect) ** 2, axis=1)
    found = _factors(parameters, model) + pooling.outcomes * _apart(parameters.noise, moved)
    if varying is not None:
        found = found + _covariates(varying)
    return -0.5 * pooling.persons * model.n_classes * found


def _factors(parameters: Parameters, model: Model) -> jax.Array:
    """Give log det of the mean of covariances of growth covariates and factors, less the mean of log determinants."""
    p, slope, chol = model.p_growth, parameters.slope, parameters.chol
    n_classes, size = chol.shape[:2]
    if model.joint:
        x_chol, away = parameters.x_chol, _about_common(parameters.x_mean)[:, :, None]
    else:  # conditioned on; in standard units their variances are 1, and they count as uncorrelated
        x_chol = jnp.broadcast_to(jnp.eye(p, dtype=chol.dtype)[None, :, :, None], (n_classes, p, p, chol.shape[-1]))
        away = jnp.zeros_like(x_chol[:, :, :1])
    x_root = jnp.concatenate([x_chol, away], axis=2)
    moved = jnp.sum(slope[:, :, :, None] * x_root[:, None], axis=2)
    still = jnp.zeros((n_classes, p, size, chol.shape[-1]), chol.dtype)
    root = jnp.concatenate([jnp.concatenate([x_root, still], axis=2), jnp.concatenate([moved, chol], axis=2)], axis=1)
    common = jnp.mean(jnp.sum(root[:, :, None] * root[:, None], axis=3), axis=0)
    own = sum(jnp.log(each[:, a, a] ** 2) for each in (x_chol, chol) for a in range(each.shape[1]))
    return _log_determinant(common) - jnp.mean(own, axis=0)


def _covariates(varying: Varying) -> jax.Array:
    apart = _apart(varying.spread**2, _about_common(varying.mean) ** 2)
    return jnp.sum(apart, axis=(0, 1))


def _about_common(each: jax.Array) -> jax.Array:
    return each - jnp.mean(each, axis=0)


def _apart(variance: jax.Array, moved: jax.Array | float = 0.0) -> jax.Array:
    return jnp.log(jnp.mean(variance + moved, axis=0)) - jnp.mean(jnp.log(variance), axis=0)


def _log_determinant(matrix: jax.Array) -> jax.Array:
    """Eliminate row by row, all matrices (q, q, m) at once: a factorisation by LAPACK would take one at a time."""
    found = jnp.zeros_like(matrix[0, 0])
    while len(matrix):
        pivot, column = matrix[0, 0], matrix[1:, 0]
        found = found + jnp.log(pivot)
        matrix = matrix[1:, 1:] - column[:, None] * column[None] / pivot
    return found
