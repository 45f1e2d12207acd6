"""Multiclass counts, tilted: the normal approximation of the counts after tilting, for bags of any size.

Law: theta minimises the convex sum_i log sum_k exp(h_ik + theta_k) - theta . S, so the tilted means are the counts.
The message to class k of member i is theta_k, plus with d = p_i - e_k, C the covariance of the counts, and c_b = sum of
third cumulants kappa_abc with the inverse of C, the terms -d' C^-1 d / 2 - d' C^-1 c / 2. The error falls as 1 / B^2;
without the terms as 1 / B. For two classes it is the formula of `asymptotic`.

Reference: McCullagh (1987), Tensor Methods in Statistics, chapter 6.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .multiclass import MulticlassSolved, check_counts, log_probabilities

FITTING, NEWTON = 8, 25


def multiclass_approximate(
    logits: Float[Array, "... B K"], counts: Int[Array, " ..."], correction: bool = True
) -> MulticlassSolved:
    """Approximate messages and log evidence of given numbers of members in each class; `multiclass_solve` is exact.

    Args:
        logits: log scores of the classes of each member (..., B, K), normalised here; -inf excludes a class.
        counts: the number of members in each class (..., K).
        correction: whether messages have the terms of order 1 / B.

    Raises:
        ObservationError: shapes that do not fit, or counts that are negative or do not add up to B.

    >>> solved = multiclass_approximate(jnp.zeros((100, 2)), jnp.array([50, 50]))
    >>> abs(round(float(solved.messages[0, 1]), 6)), abs(float(jnp.exp(solved.log_evidence)) - 0.0796) < 4e-4
    (0.0, True)
    """
    size, classes = check_counts(logits, counts, "multiclass_approximate")
    shape = logits.shape[:-2]
    targets = jnp.broadcast_to(counts, (*shape, classes)).reshape(-1, classes).astype(logits.dtype)
    told, log_z = _approximated(logits.reshape(-1, size, classes), targets, correction)
    return MulticlassSolved(told.reshape(logits.shape), log_z.reshape(shape))


@partial(jax.jit, static_argnames="correction")
def _approximated(
    rows: Float[Array, "G B K"], targets: Float[Array, "G K"], correction: bool
) -> tuple[Float[Array, "G B K"], Float[Array, " G"]]:
    told, log_z = jax.vmap(lambda h, s: _approximate(h, s, correction))(rows, targets)
    return told, log_z


def _approximate(
    logits: Float[Array, "B K"], target: Float[Array, " K"], correction: bool
) -> tuple[Float[Array, "B K"], Float[Array, ""]]:
    size, classes = logits.shape
    here = target > 0
    log_p = log_probabilities(logits)
    log_p = jnp.where(here[None], log_p, -jnp.inf)
    theta = _fit(log_p, target, here)
    p, inverse, log_det = _moments(log_p, theta, here)
    unit = jnp.eye(classes, dtype=p.dtype)
    off = p[:, None, :] - jnp.where(here[:, None], unit, 0)[None]  # d of member i and class k
    bent = jnp.einsum("ikb,bc->ikc", off, inverse)
    square = jnp.sum(off * bent, axis=-1)
    third = jnp.einsum("ik,ik,ikb->b", p, square, -off)  # kappa_abc C^-1_ab, d having the sign of p - e
    told = theta[None] + jnp.zeros_like(log_p)
    if correction:
        told = told - 0.5 * square - 0.5 * jnp.einsum("ikb,b->ik", bent, third)
    told = jnp.where(here[None], told, -jnp.inf)
    number = jnp.sum(here).astype(p.dtype)
    log_scale = jnp.log(jnp.sum(jnp.exp(log_p + jnp.where(here, theta, 0)[None]), axis=1))
    tilt = jnp.sum(log_scale) - jnp.sum(jnp.where(here, theta * target, 0))
    log_z = tilt - 0.5 * ((number - 1) * jnp.log(2 * jnp.pi) + log_det)
    right = (jnp.sum(target) == size) & jnp.all(target >= 0)
    return told - jnp.max(told, axis=1, keepdims=True), jnp.where(right, log_z, -jnp.inf)


def _fit(log_p: Float[Array, "B K"], target: Float[Array, " K"], here: jax.Array) -> Float[Array, " K"]:
    """Fit the counts by scaling first, which always goes downhill, and then by Newton's method, steps at most 2."""
    log_p, target = jax.lax.stop_gradient((log_p, target))
    log_target = jnp.log(jnp.where(here, target, 1))

    def means(theta: jax.Array) -> jax.Array:
        return jnp.sum(jax.nn.softmax(log_p + theta[None], axis=1), axis=0)

    def scale(_: int, theta: jax.Array) -> jax.Array:
        mean = means(theta)
        return theta + jnp.where(here & (mean > 0), log_target - jnp.log(jnp.where(mean > 0, mean, 1)), 0)

    def newton(_: int, theta: jax.Array) -> jax.Array:
        p, inverse, _log_det = _moments(log_p, theta, here)
        step = inverse @ jnp.where(here, target - jnp.sum(p, axis=0), 0)
        return theta + jnp.clip(step, -2, 2)

    theta = jax.lax.fori_loop(0, FITTING, scale, jnp.zeros_like(target))
    return jax.lax.stop_gradient(jax.lax.fori_loop(0, NEWTON, newton, theta))


def _moments(
    log_p: Float[Array, "B K"], theta: Float[Array, " K"], here: jax.Array
) -> tuple[Float[Array, "B K"], Float[Array, "K K"], Float[Array, ""]]:
    """Return tilted probabilities, the inverse of the covariance of the counts and the log determinant without a class.

    The covariance has the null vector of ones, as the counts add up to B; a multiple of its square makes it regular and
    changes nothing for differences of probabilities. det(C + c 11') = c K^2 times the determinant without one class.
    """
    p = jnp.where(here[None], jax.nn.softmax(log_p + theta[None], axis=1), 0)
    covariance = jnp.diag(jnp.sum(p, axis=0)) - p.T @ p
    number = jnp.sum(here).astype(p.dtype)
    size = jnp.maximum(jnp.trace(covariance) / number, 1e-3)
    both = (here[:, None] & here[None, :]).astype(p.dtype)
    regular = covariance + size * both + jnp.diag(jnp.where(here, 0, 1).astype(p.dtype))
    log_det = jnp.linalg.slogdet(regular)[1] - jnp.log(size) - 2 * jnp.log(number)
    return p, jnp.linalg.inv(regular), log_det
