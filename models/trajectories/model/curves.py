"""Curve shapes: what a class of people does over time, linear in growth factors once its shape parameter is given.

Law: a curve at time t is `sum_c a_c basis_c(t, g)`; `reported(g)` takes the factors of the basis to those of reports,
and leaves the curve unchanged. The bilinear spline is held by its level at the knot and its two slopes, so that a
change of the knot leaves the level there.

Source: Liu and Perera (2021), arXiv 2007.02432.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lawful.errors import LawfulError

__all__ = ["CURVES", "Curve", "curve_of", "smoothed_abs"]

STEEPEST = 60.0  # exponents end here: beyond, a curve has left every measurement


@dataclass(frozen=True)
class Curve:
    """One form of growth.

    Attributes:
        name: the short name, as nlpsem has it.
        long_name: the name in words.
        factors: names of the growth factors in reports (q,).
        shape: name of the shape parameter, or None where there is none.
        basis: `basis(t, g, width)` gives the q columns of loadings, each like t.
        powers: the power of time in the unit of each growth factor (q,), and that of the shape parameter.
    """

    name: str
    long_name: str
    factors: tuple[str, ...]
    shape: str | None
    basis: Callable[[Any, Any, Any], tuple[jax.Array, ...]]
    powers: tuple[int, ...]
    shape_power: int = 0

    @property
    def q(self) -> int:
        """Number of growth factors that are linear."""
        return len(self.factors)

    def value(self, t: Any, g: Any, a: Any, width: Any = 0.0) -> jax.Array:
        """Give the curve of factors `a` (q, ...) at times t."""
        columns = self.basis(t, g, width)
        return sum(a[c] * columns[c] for c in range(1, self.q)) + a[0] * columns[0]

    def sensitivity(self, t: Any, g: Any, a: Any, width: Any = 0.0) -> jax.Array:
        """Give the derivative of the curve by its shape parameter: the loading of a person's own shape, to first order.

        >>> float(CURVES["EXP"].sensitivity(2.0, 0.5, (1.0, 3.0)))  # 3 t exp(-g t)
        2.207276647028654
        """
        g = jnp.broadcast_to(g, jnp.broadcast_shapes(jnp.shape(t), jnp.shape(g), jnp.shape(a[0])))
        return jax.jvp(lambda g: self.value(t, g, a, width), (g,), (jnp.ones_like(g),))[1]

    def reported(self, g: Any) -> jax.Array:
        """Give the matrix (q, q) from the factors of the basis to those of reports.

        >>> CURVES["BLS"].reported(3.0).tolist()  # the level at time 0 from the level at the knot
        [[1.0, -3.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
        """
        g = jnp.asarray(g, jnp.result_type(float))
        found = jnp.eye(self.q, dtype=g.dtype)
        return found.at[0, 1].set(-g) if self.name == "BLS" else found


def smoothed_abs(u: Any, width: Any) -> jax.Array:
    """Give sqrt(u^2 + width^2), whose gradient is 0, not NaN, where both are 0.

    >>> float(smoothed_abs(-3.0, 4.0)), float(jax.grad(smoothed_abs)(0.0, 0.0))
    (5.0, 0.0)
    """
    square = u * u + width * width
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def _linear(t: Any, g: Any, width: Any) -> tuple[jax.Array, ...]:
    return jnp.ones_like(t), t


def _quadratic(t: Any, g: Any, width: Any) -> tuple[jax.Array, ...]:
    return jnp.ones_like(t), t, t * t


def _exponential(t: Any, g: Any, width: Any) -> tuple[jax.Array, ...]:
    return jnp.ones_like(t), -jnp.expm1(jnp.minimum(-g * t, STEEPEST))


def _jenss_bayley(t: Any, g: Any, width: Any) -> tuple[jax.Array, ...]:
    return jnp.ones_like(t), t, jnp.expm1(jnp.minimum(g * t, STEEPEST))


def _spline(t: Any, g: Any, width: Any) -> tuple[jax.Array, ...]:
    u = t - g
    size = smoothed_abs(u, width)
    return jnp.ones_like(u), 0.5 * (u - size), 0.5 * (u + size)


CURVES = {
    curve.name: curve
    for curve in (
        Curve("LIN", "linear", ("eta0", "eta1"), None, _linear, (0, -1)),
        Curve("QUAD", "quadratic", ("eta0", "eta1", "eta2"), None, _quadratic, (0, -1, -2)),
        Curve("EXP", "negative exponential", ("eta0", "eta1"), "rate", _exponential, (0, 0), -1),
        Curve("JB", "Jenss-Bayley", ("eta0", "eta1", "eta2"), "acceleration", _jenss_bayley, (0, -1, 0), -1),
        Curve("BLS", "bilinear spline", ("eta0", "eta1", "eta2"), "knot", _spline, (0, -1, -1), 1),
    )
}


def curve_of(name: Any) -> Curve:
    """Find a curve by its short or its long name, in words or in one.

    Raises:
        LawfulError: no curve has that name.

    >>> curve_of("bilinear spline").name, curve_of("bilinear_spline").name
    ('BLS', 'BLS')
    """
    words = str(name).replace("_", " ")
    for curve in CURVES.values():
        if words in (curve.name, curve.long_name):
            return curve
    known = ", ".join(f"{curve.name!r} ({curve.long_name})" for curve in CURVES.values())
    raise LawfulError(f"curve={name!r} is not the name of a curve. Fix: give one of {known}.", given=name)
