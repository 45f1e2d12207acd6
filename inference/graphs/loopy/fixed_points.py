"""Fixed points: solutions of x = f(theta, x), found in any way, that know how they move with theta.

Law: the derivative of a fixed point is that of the equation, dx = (df/dx) dx + (df/dtheta) dtheta, however many steps
led to it; both modes and all orders, with memory of a few copies of x. A value that is stationary in x at the fixed
point has the derivative that it has with x held.

Reference: Christianson (1994), Reverse accumulation and attractive fixed points; for stationary values the envelope
theorem.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .linear_equations import solved


def settled(update: Callable[..., Any], parameters: Any, point: Any, *given: Any) -> Any:
    """Give a fixed point back as a function of the parameters that it belongs to.

    Args:
        update: (parameters, point, *given) -> point, the function f.
        parameters: a pytree of floats.
        point: a solution of point = update(parameters, point), whose own derivative is left out.
        given: what else the function reads, without derivative, as arrays of indices; what is traced must come so.

    Returns: the point. Its derivative is NaN where the linear equation could not be solved to 1e-8 (1e-4 in float32).

    >>> root = lambda a: settled(lambda a, x: (x + a / x) / 2, a, jnp.sqrt(jax.lax.stop_gradient(a)))
    >>> float(jax.grad(root)(4.0)), float(jax.grad(jax.grad(root))(4.0))
    (0.25, -0.03125)
    """

    def off(x: Any) -> Any:
        return jax.tree.map(jnp.subtract, x, update(parameters, x, *given))

    def solve(linear: Callable[[Any], Any], right: Any) -> Any:
        return jax.lax.custom_linear_solve(linear, right, solved, transpose_solve=solved)

    return jax.lax.custom_root(off, jax.lax.stop_gradient(point), lambda _, start: start, solve)


def stationary(read: Callable[..., Any], parameters: Any, point: Any, *given: Any) -> Any:
    """Read a value that is stationary in a point, and whatever else goes with it.

    Args:
        read: (parameters, point, *given) -> (value, others).
        parameters: a pytree of floats.
        point: where the derivative of the value by the point is zero.
        given: what else the function reads, as in `settled`.

    Returns: (value, others). The value's derivative leaves out that of the point; second derivatives do not.

    >>> reach = lambda t: stationary(lambda t, x: (t * x - x**2 / 2, x), t, 3.0)[0]
    >>> float(reach(3.0)), float(jax.grad(reach)(3.0))
    (4.5, 3.0)
    """

    @jax.custom_jvp
    def held(parameters: Any, point: Any, given: Any) -> Any:
        return read(parameters, point, *given)

    @held.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        parameters, point, given = primals
        _, (moved, _) = jax.jvp(lambda p: read(p, point, *given), (parameters,), (tangents[0],))
        _, (_, others) = jax.jvp(lambda p, x: read(p, x, *given), (parameters, point), tangents[:2])
        return held(*primals), (moved, others)

    return held(parameters, point, given)


@jax.custom_jvp
def differentiable_if(weight: Any, values: Any) -> Any:
    """Give values back, whose derivative is multiplied by a weight: NaN forbids it, zero leaves it out.

    >>> float(jax.grad(lambda x: differentiable_if(jnp.nan, x) * 2.0)(1.0))
    nan
    """
    return values


@differentiable_if.defjvp
def _weighed(primals: Any, tangents: Any) -> Any:
    weight = jnp.asarray(primals[0])
    return differentiable_if(*primals), jax.tree.map(lambda t: t * weight.astype(t.dtype), tangents[1])
