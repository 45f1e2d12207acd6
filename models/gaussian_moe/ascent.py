"""Newton's method for a maximum, damped, which leaves saddles and creeps along no valley.

A step is `(|H| + mu I)^-1 g`, where `|H|` has the absolute values of the eigenvalues of the Hessian H: it goes uphill
wherever the gradient g is not 0, and away from saddles. The damping mu falls after a step that is kept, and grows after
one that is not. Over-specified mixtures have likelihoods that are flat to the fourth order, where EM takes thousands of
steps.

Law: the value never falls; where `converged`, the gradient is shorter than tol and no direction curves upwards.

References: Nocedal and Wright (2006), Numerical Optimization, section 3.4; Dauphin et al. (2014), arXiv 1406.2572.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from .curvature import Local

__all__ = ["Ascent", "ascend"]

DAMPING, LARGEST = 1e-3, 1e8


class Ascent(NamedTuple):
    """Where the search stands.

    Attributes:
        theta: the point (m,).
        local: value and derivatives there.
        damping: mu of the next step.
        iterations: steps tried.
        converged: whether the gradient is shorter than tol, at no saddle.
    """

    theta: Any
    local: Local
    damping: Any
    iterations: Any
    converged: Any


def ascend(
    evaluate: Callable[[jax.Array], Local],
    theta: jax.Array,
    *,
    tol: Any = 1e-6,
    most: Any = 500,
    allowed: Callable[[jax.Array], jax.Array] = lambda theta: theta,
) -> Ascent:
    """Look for a maximum.

    Args:
        evaluate: gives value, gradient and Hessian at a point.
        theta: where to start (m,).
        tol: length of the gradient at which to stop.
        most: largest number of steps.
        allowed: moves a point to one that is allowed.

    >>> def quartic(x):
    ...     value = lambda x: -jnp.sum((x**2 - 1.0) ** 2)
    ...     return Local(value(x), jax.grad(value)(x), jax.hessian(value)(x))
    >>> ascend(quartic, jnp.array([1e-4, -2.0])).theta.round(4).tolist()
    [1.0, -1.0]
    """
    least = jnp.finfo(theta.dtype).eps

    def stands(local: Local) -> jax.Array:
        short = jnp.sum(local.slope**2) < tol**2
        return short & (jnp.linalg.eigvalsh(local.curvature)[-1] < 10 * tol)

    def going(state: Ascent) -> jax.Array:
        return ~state.converged & (state.iterations < most) & (state.damping < LARGEST)

    def step(state: Ascent) -> Ascent:
        bends, basis = jnp.linalg.eigh(state.local.curvature)
        sizes = jnp.abs(bends) + jnp.maximum(state.damping, least)
        there = allowed(state.theta + basis @ ((basis.T @ state.local.slope) / sizes))
        local = evaluate(there)
        value = state.local.value
        # Within rounding of the value, the gradient says which point is better.
        level = jnp.abs(local.value - value) <= 4 * least * jnp.abs(value)
        better = (local.value > value) | (level & (jnp.sum(local.slope**2) < jnp.sum(state.local.slope**2)))
        better &= jnp.all(jnp.isfinite(local.slope)) & jnp.all(jnp.isfinite(local.curvature))
        theta, local = jax.tree.map(lambda a, b: jnp.where(better, a, b), (there, local), (state.theta, state.local))
        damping = state.damping * jnp.where(better, 0.25, 4.0)
        return Ascent(theta, local, damping, state.iterations + 1, stands(local))

    first = evaluate(theta)
    start = Ascent(theta, first, jnp.full((), DAMPING, theta.dtype), 0, stands(first))
    return lax.while_loop(going, step, start)
