"""Penalties: a weak one, which keeps covariances off the boundary, and one that pools the classes in part.

Law of the weak one, the log prior density of the Bayesian fit up to constants: with standard deviations D and
correlations Omega of the growth factors (and of growth covariates), `sum_j (log D_j - D_j / d_j) + log det Omega` for
each class, and a normal density of SD 1 of the gate's coefficients, which sum to zero over classes. It is -inf where a
covariance is singular. What is equal in all classes counts once, and factors that all persons share do not count.

Law of pooling: for m borrowed persons it is `-m` times the sum over classes of the Kullback-Leibler divergence of a
class's law of deviations from the nearest law that all could share. So it is at most zero, zero where classes differ in
their curves and in the gate alone, and the same under any naming of the classes. For m persons a class, -2 times it is
Box's M where covariates have the same means in all classes.

Deviations are those of growth covariates from the mean over classes, together with those of the growth factors of the
basis (of a spline: the level at the knot and the slopes) from the class's curve at that mean; and at each wave those of
time-varying covariates, together with those of the outcome from the curve of its person. So effects of covariates and
residual variances are pooled, too. Covariates that are conditioned on count as standard normal in standard units.

Source: Box 1949, "A general distribution theory for a class of likelihood criteria"; Friedman 1989, "Regularized
discriminant analysis".
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..model.parameters import Model, Parameters, Varying

__all__ = ["Pooling", "log_penalty", "log_pooling"]

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
    scales = np.array([SHAPE] * model.intrinsic + [1.0 if power == 0 else SLOPE for power in model.form.powers])
    chol, places = parameters.chol, model.random_places
    if len(places) < model.n_factors:
        chol, scales = chol[:, places][:, :, places], scales[places]
    found = _once(_kept_regular(chol, scales), "chol", model)
    if model.joint and model.p_growth:
        found = found + _once(_kept_regular(parameters.x_chol, np.ones(model.p_growth)), "x_chol", model)
    centred = parameters.gate - jnp.mean(parameters.gate, axis=0, keepdims=True)
    return found - 0.5 * jnp.sum(centred**2, axis=(0, 1))


def _once(total: jax.Array, block: str, model: Model) -> jax.Array:
    """Give a sum over classes, or the one term that they have in common."""
    return total / model.n_classes if block in model.alike else total


def _kept_regular(chol: jax.Array, scales: np.ndarray) -> jax.Array:
    size = chol.shape[1]
    variance = jnp.sum(chol**2, axis=2)
    diagonal = chol[:, np.arange(size), np.arange(size)] ** 2
    spread = jnp.sqrt(variance) / jnp.asarray(scales, chol.dtype)[None, :, None]
    each = 0.5 * jnp.log(variance) - spread + jnp.log(diagonal) - jnp.log(variance)
    return jnp.sum(each, axis=(0, 1))


class Pooling(NamedTuple):
    """How much each class borrows: a number of persons, growth factors known, and the share seen at each wave (J,)."""

    persons: Any
    seen: Any


def log_pooling(parameters: Parameters, model: Model, pooling: Pooling) -> jax.Array:
    """Give the penalty at parameters in standard units, for each entry of the last axis of their leaves (m,).

    >>> model = Model("LIN", 2)
    >>> gate, mean, empty = jnp.zeros((2, 1, 1)), jnp.arange(4.0).reshape(2, 2, 1), jnp.ones((2, 0, 1))
    >>> at = Parameters(gate, mean, empty, jnp.ones((2, 2, 0, 1)), jnp.stack([jnp.eye(2)] * 2)[..., None],
    ...     jnp.asarray([[1.0], [4.0]]), empty, jnp.ones((2, 0, 0, 1)))
    >>> log_pooling(at, model, Pooling(10.0, jnp.ones(3))).round(3).tolist()  # 10 * 3 / 2 * (log 4 - 2 log 2.5)
    [-6.694]
    """
    p, noise = parameters, jnp.sqrt(parameters.noise)[:, None, None]
    covariates = (p.x_mean, p.x_chol) if model.joint else (None, None)
    found = _apart(p.slope, p.chol, *covariates) + _outcomes(p.varying, noise, model, pooling.seen)
    return -0.5 * pooling.persons * model.n_classes * found


def _outcomes(varying: Varying | None, noise: jax.Array, model: Model, seen: jax.Array) -> jax.Array:
    if varying is None:
        return jnp.sum(seen) * _apart(noise[:, :, :0], noise, None, None)
    effect = varying.effect[:, None]
    if not model.joint:
        return jnp.sum(seen) * _apart(effect, noise, None, None)
    unit = jnp.eye(model.p_varying, dtype=noise.dtype)[None, :, :, None]

    def at_wave(mean: jax.Array, spread: jax.Array) -> jax.Array:
        return _apart(effect, noise, mean, spread[:, :, None] * unit)

    return jnp.sum(seen[:, None] * jax.vmap(at_wave, in_axes=2)(varying.mean, varying.spread), axis=0)


def _apart(slope: jax.Array, chol: jax.Array, x_mean: jax.Array | None, x_chol: jax.Array | None) -> jax.Array:
    """Give twice the mean divergence over classes from the nearest common law (m,).

    Args:
        slope: of what deviates on covariates (K, Q, p, m), and
        chol: the factor of its residual covariance (K, Q, Q, m).
        x_mean: of the covariates (K, p, m), and
        x_chol: the factor of their covariance (K, p, p, m); None for standard normal ones.
    """
    n_classes, size, p, persons = slope.shape
    if x_mean is None or x_chol is None:
        x_mean = jnp.zeros((n_classes, p, persons), chol.dtype)
        x_chol = jnp.broadcast_to(jnp.eye(p, dtype=chol.dtype)[None, :, :, None], (n_classes, p, p, persons))
    away = x_mean - jnp.mean(x_mean, axis=0)
    x_root = jnp.concatenate([x_chol, away[:, :, None]], axis=2)
    moved = jnp.sum(slope[:, :, :, None] * x_root[:, None], axis=2)
    still = jnp.zeros((n_classes, p, size, persons), chol.dtype)
    root = jnp.concatenate([jnp.concatenate([x_root, still], axis=2), jnp.concatenate([moved, chol], axis=2)], axis=1)
    common = jnp.mean(jnp.sum(root[:, :, None] * root[:, None], axis=3), axis=0)
    own = sum(jnp.log(each[:, a, a] ** 2) for each in (x_chol, chol) for a in range(each.shape[1]))
    return _log_determinant(common) - jnp.mean(own, axis=0)


def _log_determinant(matrix: jax.Array) -> jax.Array:
    """Eliminate row by row, all matrices (q, q, m) at once: a factorisation by LAPACK would take one at a time."""
    found = jnp.zeros_like(matrix[0, 0])
    while len(matrix):
        pivot, column = matrix[0, 0], matrix[1:, 0]
        found = found + jnp.log(pivot)
        matrix = matrix[1:, 1:] - column[:, None] * column[None] / pivot
    return found
