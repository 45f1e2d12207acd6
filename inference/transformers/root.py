"""Root: where a falling function crosses zero inside a bracket, with the residual that was really reached.

Law: the root lies in the bracket, and `residual` is the function's own value there, computed after the search; a search
that did not end within the tolerance says so, so a wrong sign cannot pass.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

STEPS = 100


class RootStatus(IntEnum):
    """How a search ended."""

    FOUND = 0
    NO_SIGN_CHANGE = 1
    NOT_CONVERGED = 2


class Root(NamedTuple):
    """The point, the function's value there, how the search ended (a `RootStatus`), and the number of evaluations."""

    x: jax.Array
    residual: jax.Array
    status: jax.Array
    evaluations: jax.Array


class _Bracket(NamedTuple):
    low: jax.Array
    high: jax.Array
    at_low: jax.Array
    at_high: jax.Array
    best: jax.Array
    at_best: jax.Array
    side: jax.Array
    evaluations: jax.Array


def falling_root(
    function: Callable[[jax.Array], jax.Array], low: Any, high: Any, tolerance: Any, steps: int = STEPS
) -> Root:
    """Find x in [low, high] with |f(x)| <= tolerance, for f that is positive at `low` and negative at `high`.

    The Illinois variant of false position, with a bisection at every third step, so that a function of any shape is
    bracketed as fast as by bisection with a third of the steps (Dowell and Jarratt 1971, A modified regula falsi
    method).

    Args:
        function: a scalar function, continuous on the bracket.
        low: the end where it is positive.
        high: the end where it is negative.
        tolerance: largest residual of a root.
        steps: largest number of evaluations inside the bracket.

    Returns: a Root. Where f has no change of sign, or none of the right direction, its status says so, and x is the end
        with the smaller residual; where f is not a number x is `low`.

    >>> root = falling_root(lambda x: 2.0 - jnp.exp(x), 0.0, 3.0, 1e-6)
    >>> RootStatus(int(root.status)).name, abs(float(root.x) - float(jnp.log(2.0))) < 1e-5
    ('FOUND', True)
    >>> RootStatus(int(falling_root(lambda x: x - 1.0, 0.0, 3.0, 1e-6).status)).name
    'NO_SIGN_CHANGE'
    """
    low, high = jnp.asarray(low), jnp.asarray(high)
    dtype = jnp.result_type(low, high, float)
    low, high = low.astype(dtype), high.astype(dtype)
    at_low, at_high = function(low), function(high)
    changes = (at_low > 0) & (at_high < 0)
    nearer = jnp.abs(at_high) < jnp.abs(at_low)
    start = _Bracket(
        low, high, at_low, at_high,
        jnp.where(nearer, high, low), jnp.where(nearer, at_high, at_low),
        jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32),
    )  # fmt: skip

    def searching(b: _Bracket) -> jax.Array:
        open_ = (b.low < _middle(b)) & (_middle(b) < b.high)
        return changes & (jnp.abs(b.at_best) > tolerance) & (b.evaluations < steps) & open_

    def narrow(b: _Bracket) -> _Bracket:
        secant = b.low + (b.high - b.low) * (b.at_low / (b.at_low - b.at_high))
        inside = (b.low < secant) & (secant < b.high) & (b.evaluations % 3 != 2)
        x = jnp.where(inside, secant, _middle(b))
        value = function(x)
        above = value > 0
        # The end that stays twice has its value halved, or it would stay for ever (Illinois).
        halve_high = jnp.where(above & (b.side == 1), 0.5, 1.0)
        halve_low = jnp.where(~above & (b.side == -1), 0.5, 1.0)
        better = jnp.abs(value) < jnp.abs(b.at_best)
        return _Bracket(
            jnp.where(above, x, b.low),
            jnp.where(above, b.high, x),
            jnp.where(above, value, b.at_low * halve_low),
            jnp.where(above, b.at_high * halve_high, value),
            jnp.where(better, x, b.best),
            jnp.where(better, value, b.at_best),
            jnp.where(above, 1, -1).astype(jnp.int32),
            b.evaluations + 1,
        )

    end = lax.while_loop(searching, narrow, start)
    residual = function(end.best)
    found = jnp.where(jnp.abs(residual) <= tolerance, RootStatus.FOUND, RootStatus.NOT_CONVERGED)
    status = jnp.where(changes | (found == RootStatus.FOUND), found, RootStatus.NO_SIGN_CHANGE)
    return Root(end.best, residual, status.astype(jnp.int32), end.evaluations)


def _middle(bracket: _Bracket) -> jax.Array:
    return bracket.low + 0.5 * (bracket.high - bracket.low)
