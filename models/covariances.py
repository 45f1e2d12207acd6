"""Covariances of processes: kernels as functions, their spectra, and linear operators that act on them.

A kernel is a function of two points, (x, y) to a covariance; sums and products of kernels are kernels. An operator
takes a function of one point and gives a function of one point, linearly: any Python function that does so. Applied to
each argument of a kernel it gives the covariances of what it makes of the process.

Law: derivatives of kernels are exact, at distance 0 too, as far as the process has them; the operator of an integral
after that of a derivative gives differences of values.

Reference: Särkkä (2011), Linear operators and stochastic partial differential equations in Gaussian process regression.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import factorial, gamma, pi
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError

__all__ = [
    "cosine",
    "covariance",
    "derivative",
    "even_covariance",
    "identity",
    "integral",
    "laplacian",
    "matern",
    "matern_spectrum",
    "spectrum_mixture",
    "squared_exponential",
    "squared_exponential_spectrum",
]

type Function = Callable[[Any], jax.Array]
type Kernel = Callable[[Any, Any], jax.Array]
type Operator = Callable[[Function], Function]


def squared_exponential(length: Any) -> Kernel:
    """Give the kernel exp(-|x - y|^2 / (2 length^2)), of points () or (d,).

    >>> float(squared_exponential(2.0)(0.0, 2.0).round(4))
    0.6065
    """
    return lambda x, y: _over_coordinates(jnp.exp(-0.5 * jnp.square((x - y) / length)), x)


def matern(length: Any, smoothness: float = 2.5) -> Kernel:
    """Give the Matern kernel of a half-integer smoothness, of points () or, as a product over coordinates, (d,).

    The process has smoothness - 1/2 derivatives. The kernel has twice as many at distance 0, and they are exact there;
    with an operator of higher order variances come out negative, and densities NaN.

    Args:
        length: (), or (d,), one a coordinate; the unit of distances.
        smoothness: 0.5, 1.5, 2.5 and so on.

    Raises: LawfulError where the smoothness is no positive half-integer.

    >>> kernel = matern(1.0)
    >>> float(covariance(kernel, [0.0], [0.0], derivative(2), derivative(2))[0, 0].round(4))  # 25, in double precision
    25.0
    """
    polynomial = _matern_polynomial(_order(smoothness))
    rate = jnp.sqrt(2.0 * smoothness) / length
    return lambda x, y: _over_coordinates(_decay(polynomial, False, rate * (x - y)), x)


def cosine(frequency: Any) -> Kernel:
    """Give the kernel cos(2 pi frequency (x - y)); of points (d,) the frequency is (d,), or the same along each axis.

    >>> float(cosine(0.5)(0.0, 1.0))
    -1.0
    """

    def kernel(x: Any, y: Any) -> jax.Array:
        turns = frequency * (x - y)
        return jnp.cos(2.0 * pi * (turns if jnp.ndim(x) == 0 else jnp.sum(turns, -1)))

    return kernel


def spectrum_mixture(height: Any, frequency: Any, length: Any = 1.0, base: Callable[[Any], Kernel] = matern) -> Kernel:
    """Give a sum of products of a base kernel and a cosine: a mixture of bumps in the spectrum, of points on a line.

    Args:
        height: (Q,), the variance of each.
        frequency: (Q,), turns for a unit of distance.
        length: (Q,) or (), the length of the base kernel: the inverse width of the bumps.
        base: a kernel by its length; Matern's has spectra of Student's t, the squared exponential normal ones.

    >>> float(spectrum_mixture(jnp.ones(2), jnp.array([0.0, 5.0]))(0.3, 0.3))
    2.0
    """
    return lambda x, y: jnp.sum(height * base(length)(x, y) * cosine(frequency)(x, y), -1)


def squared_exponential_spectrum(length: Any) -> Function:
    """Give the spectral density of the squared exponential, by the angular frequency.

    >>> float(squared_exponential_spectrum(1.0)(0.0).round(4))  # sqrt(2 pi)
    2.5066
    """
    return lambda omega: jnp.sqrt(2.0 * pi) * length * jnp.exp(-0.5 * jnp.square(length * omega))


def matern_spectrum(length: Any, smoothness: float = 2.5) -> Function:
    """Give the spectral density of Matern's kernel on a line, by the angular frequency.

    >>> float(matern_spectrum(1.0, 0.5)(0.0).round(4))
    2.0
    """
    rate = jnp.sqrt(2.0 * smoothness) / length
    constant = 2.0 * pi**0.5 * gamma(smoothness + 0.5) / gamma(smoothness)
    return lambda omega: constant / rate * (1.0 + jnp.square(omega / rate)) ** -(smoothness + 0.5)


def identity(function: Function) -> Function:
    """Give the function itself.

    >>> float(identity(jnp.exp)(0.0))
    1.0
    """
    return function


def derivative(order: int = 1, axis: int | None = None) -> Operator:
    """Give the operator of a derivative.

    Args:
        order: how many times.
        axis: of points (d,), the coordinate.

    >>> float(derivative(2)(lambda x: x**3)(2.0))
    12.0
    """

    def once(function: Function) -> Function:
        def slope(x: Any) -> jax.Array:
            x = jnp.asarray(x, jnp.result_type(float))
            along = jnp.ones(()) if axis is None else jax.nn.one_hot(axis, len(x))
            slopes: jax.Array = jax.jvp(function, (x,), (along.astype(x.dtype),))[1]
            return slopes

        return slope

    def operator(function: Function) -> Function:
        for _ in range(order):
            function = once(function)
        return function

    return operator


def laplacian(function: Function) -> Function:
    """Give the sum of the second derivatives along the coordinates; of points on a line, the second derivative.

    >>> float(laplacian(lambda x: jnp.sum(x**2))(jnp.zeros(3)))
    6.0
    """

    def total(x: Any) -> jax.Array:
        if jnp.ndim(x) == 0:
            return derivative(2)(function)(x)
        return sum((derivative(2, axis)(function)(x) for axis in range(len(x))), jnp.zeros(()))

    return total


def integral(nodes: int = 32) -> Operator:
    """Give the operator of the integral over an interval: its points are intervals (2,), of points on a line.

    Gauss and Legendre's rule, exact for polynomials of degree 2 nodes - 1. Its error falls exponentially for functions
    without kinks; with Matern's kernel of smoothness s, where intervals overlap, as nodes^-(2s + 1).

    >>> float(integral(4)(lambda x: x**3)(jnp.array([0.0, 2.0])).round(4))
    4.0
    """
    at, weights = np.polynomial.legendre.leggauss(nodes)

    def operator(function: Function) -> Function:
        def total(interval: Any) -> jax.Array:
            half = (interval[1] - interval[0]) / 2.0
            return half * jnp.sum(weights * jax.vmap(function)(interval[0] + half * (1.0 + at)))

        return total

    return operator


def covariance(kernel: Kernel, x: Any, y: Any, first: Operator = identity, second: Operator = identity) -> jax.Array:
    """Give the covariances of what two operators make of a process.

    Args:
        kernel: of the process.
        x: (n, ...), the points of the first operator.
        y: (m, ...), the points of the second operator.
        first: acts on the first argument of the kernel.
        second: acts on the second.

    Returns: (n, m).

    >>> covariance(squared_exponential(1.0), [0.0, 1.0], [0.0], derivative(1), derivative(1)).round(4).tolist()
    [[1.0], [0.0]]
    """

    def at(x: Any, y: Any) -> jax.Array:
        return first(lambda s: second(lambda t: kernel(s, t))(y))(x)

    x, y = (jnp.asarray(points, jnp.result_type(float)) for points in (x, y))
    table: jax.Array = jax.vmap(lambda x: jax.vmap(lambda y: at(x, y))(y))(x)
    return table


def even_covariance(kernel: Kernel, x: Any, operator: Operator = identity) -> jax.Array:
    """Give the covariances at evenly spaced points, from n lags instead of n^2 pairs.

    Kernel and operator must not change under a shift of all points. The matrix is NaN where the points are not even.

    Args:
        kernel: of the process, a function of x - y.
        x: (n,), points on a line, each as far from the one before.
        operator: acts on both arguments.

    Returns: (n, n), a Toeplitz matrix.

    >>> float(even_covariance(cosine(1.0), [0.0, 0.5, 1.0])[0, 1])
    -1.0
    """
    x = jnp.asarray(x, jnp.result_type(float))
    index = jnp.arange(len(x))
    line = x[0] + (x[-1] - x[0]) * index / max(len(x) - 1, 1)
    even = jnp.max(jnp.abs(x - line)) <= 64.0 * jnp.finfo(x.dtype).eps * jnp.max(jnp.abs(x))
    lags = covariance(kernel, x, x[:1], operator, operator)[:, 0]
    return jnp.where(even, lags[jnp.abs(index[:, None] - index)], jnp.nan)


def _over_coordinates(values: jax.Array, x: Any) -> jax.Array:
    """Multiply over the coordinates of points (d,)."""
    return values if jnp.ndim(x) == 0 else jnp.prod(values, -1)


def _order(smoothness: float) -> int:
    """How many derivatives a process of Matern's has."""
    order = round(smoothness - 0.5)
    if order < 0 or order + 0.5 != smoothness:
        raise LawfulError(f"matern, smoothness: expected 0.5, 1.5, 2.5 and so on, got {smoothness}.")
    return order


def _matern_polynomial(order: int) -> tuple[float, ...]:
    """Coefficients of the polynomial beside exp(-u) in the kernel, constant first."""
    share = [factorial(2 * order - i) / factorial(order - i) / factorial(i) * 2.0**i for i in range(order + 1)]
    return tuple(s * factorial(order) / factorial(2 * order) for s in share)


def _next(polynomial: tuple[float, ...]) -> tuple[float, ...]:
    """The polynomial of the derivative: (p exp(-u))' = (p' - p) exp(-u)."""
    slope = (*(i * c for i, c in enumerate(polynomial[1:], 1)), 0.0)
    return tuple(s - c for s, c in zip(slope, polynomial, strict=True))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _decay(polynomial: tuple[float, ...], odd: bool, u: jax.Array) -> jax.Array:
    """p(|u|) exp(-|u|), times the sign of u if odd; a derivative of |u| by rule would be 0 at 0, and wrong there."""
    size = jnp.abs(u)
    value: jax.Array = jnp.polyval(jnp.array(polynomial[::-1], size.dtype), size) * jnp.exp(-size)
    return jnp.sign(u) * value if odd else value


@_decay.defjvp
def _decay_slope(
    polynomial: tuple[float, ...], odd: bool, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """The derivative is the same kind of function, odd where this one is even."""
    slope = _decay(_next(polynomial), not odd, primals[0])
    return _decay(polynomial, odd, primals[0]), slope * tangents[0]
