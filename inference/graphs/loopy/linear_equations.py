"""Linear equations that are known by products alone, solved without transposes, in the memory of a few vectors.

Law: what is given back solves the equation to a stated share of its right side, checked by a product, or is NaN.

BiCGSTAB ends soonest where a fixed point is differentiated, also where the plain iteration does not end. It breaks down
where the residual leaves the entries that it started from, as it does where products only pass values on: a step of the
plain iteration then takes its place. Every step holds one product, so that a program has its code once.

Reference: van der Vorst (1992), Bi-CGSTAB: a fast and smoothly converging variant of Bi-CG.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

STEPS = 2000
TARGET = {4: 1e-6, 8: 1e-11}  # by the bytes of a number: where to stop, and what is good enough
ENOUGH = {4: 1e-4, 8: 1e-8}
BROKEN = 1e-12
FIRST, SECOND, PLAIN, CHECK = range(4)


class _State(NamedTuple):
    """The solution so far, right - product(solution), the direction and its product, and the shadow residual."""

    x: Any
    r: Any
    p: Any
    v: Any
    shadow: Any
    rho: Any
    alpha: Any
    phase: Any
    steps: Any
    done: Any


def solved(product: Callable[[Any], Any], right: Any) -> Any:
    """Solve product(x) = right for a linear function of pytrees.

    Args:
        product: the function; of the form x - contraction(x), where the plain iteration is to help.
        right: the right side, a pytree of floats of one type.

    Returns: x, or NaN where the residual is not below 1e-8 of the right side (1e-4 in float32) after 2000 products.

    >>> import numpy as np
    >>> solved(lambda x: np.array([[1.0, -0.5], [0.25, 1.0]]) @ x, jnp.array([1.0, 2.0])).round(4).tolist()
    [1.7778, 1.5556]
    """
    b, back = ravel_pytree(right)
    size, target, enough = jnp.linalg.norm(b), TARGET[b.dtype.itemsize], ENOUGH[b.dtype.itemsize]

    def step(state: _State) -> _State:
        factor = jax.lax.select_n(state.phase, state.p, state.r, state.r, state.x)
        state = jax.lax.switch(
            state.phase, (_first, _second, _plain, check), state, ravel_pytree(product(back(factor)))[0]
        )
        near = (jnp.linalg.norm(state.r) <= target * size) & ~state.done
        return state._replace(phase=jnp.where(near, CHECK, state.phase), steps=state.steps + 1)

    def check(state: _State, w: Any) -> _State:
        r = b - w
        return _restarted(state, state.x, r)._replace(done=jnp.linalg.norm(r) <= enough * size)

    def going(state: _State) -> Any:
        return ~state.done & (state.steps < STEPS) & jnp.all(jnp.isfinite(state.r))

    zero, one = jnp.zeros_like(b), jnp.ones((), b.dtype)
    begun = _State(zero, b, b, zero, b, jnp.vdot(b, b), one, jnp.asarray(FIRST), jnp.asarray(0), size == 0)
    ended = jax.lax.while_loop(going, step, begun)
    return back(jnp.where(ended.done, ended.x, jnp.nan))


def _restarted(state: _State, x: Any, r: Any) -> _State:
    phase = jnp.asarray(FIRST)
    return state._replace(x=x, r=r, p=r, v=jnp.zeros_like(r), shadow=r, rho=jnp.vdot(r, r), phase=phase)


def _first(state: _State, w: Any) -> _State:
    """Go along the direction, so that what is left has no part in the shadow."""
    along = jnp.vdot(state.shadow, w)
    broken = jnp.abs(along) <= BROKEN * jnp.linalg.norm(state.shadow) * jnp.linalg.norm(w)
    alpha = jnp.where(broken, 0.0, state.rho / jnp.where(broken, 1.0, along))
    moved = state._replace(x=state.x + alpha * state.p, r=state.r - alpha * w, v=w, alpha=alpha)
    return moved._replace(phase=jnp.where(broken, PLAIN, SECOND))


def _second(state: _State, w: Any) -> _State:
    """Go along what is left as far as makes it least, and turn the direction."""
    square = jnp.vdot(w, w)
    omega = jnp.vdot(w, state.r) / jnp.where(square > 0, square, 1.0)
    x, r = state.x + omega * state.r, state.r - omega * w
    rho = jnp.vdot(state.shadow, r)
    broken = (jnp.abs(rho) <= BROKEN * jnp.linalg.norm(state.shadow) * jnp.linalg.norm(r)) | (omega == 0)
    safe = jnp.where(broken, 1.0, state.rho * omega)
    p = r + (rho * state.alpha / safe) * (state.p - omega * state.v)
    return state._replace(x=x, r=r, p=p, rho=rho, phase=jnp.where(broken, PLAIN, FIRST))


def _plain(state: _State, w: Any) -> _State:
    return _restarted(state, state.x + state.r, state.r - w)
