"""Softplus(z) = log(1 + exp(z)), and its sum over many numbers: the log likelihood of Bernoulli sites by log odds.

Law: the sum is that of the terms, to rounding, with the derivatives of the terms.

What makes it fast: softplus(z) = max(z, 0) + log(1 + exp(-|z|)), and the logarithms of eight terms are the one of their
product. The numbers are read as eight slices whose length is a multiple of what a processor adds at once, so that no
slice has a rest; and in single precision the exponential knows that its argument is never positive.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

GROUP = 8  # factors under one logarithm; each is at most 2, so their product is at most 256
LANES = 8  # numbers in a register, at least


@jax.custom_jvp
def softplus(z: jax.Array) -> jax.Array:
    """Compute log(1 + exp(z)) of each number.

    >>> softplus(jnp.array([-jnp.inf, 0.0, jnp.inf])).tolist() == [0.0, float(jnp.log1p(1.0)), float("inf")]
    True
    """
    return one_logarithm([z])


@softplus.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Push a tangent forward: the derivative is the logistic function."""
    return softplus(*primals), jax.nn.sigmoid(primals[0]) * tangents[0]


@jax.custom_jvp
def softplus_sum(z: jax.Array) -> jax.Array:
    """Sum log(1 + exp(z)) over a vector; the sum of none is 0.

    >>> abs(float(softplus_sum(jnp.array([0.0, 1.0]))) - (math.log(2.0) + math.log1p(math.e))) < 1e-6
    True
    """
    return _sliced(z, one_logarithm)


def _sliced(z: jax.Array, combine: Callable[[list[jax.Array]], jax.Array]) -> jax.Array:
    """Sum what is made of at most eight slices of a vector."""
    width = -(-len(z) // (GROUP * LANES)) * LANES
    whole, rest = divmod(len(z), width) if len(z) else (0, 0)
    total = jnp.zeros((), z.dtype)
    for start, stop, slices in ((0, rest, whole + 1), (rest, width, whole)):
        if start < stop and slices:
            terms = combine([z[i * width + start : i * width + stop] for i in range(slices)])
            # Fused with the sum, the terms would be computed one number at a time.
            total += jnp.sum(jax.lax.optimization_barrier(terms))
    return total


@softplus_sum.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Push a tangent forward: the derivative of softplus is the logistic function, and the sum is read off it.

    log(1 + exp(-|z|)) = -log(logistic(|z|)), which lies between 1/2 and 1: value and derivative share one hyperbolic
    tangent a number, and eight of them share a logarithm. The error of a term is a rounding of 1.
    """
    (z,), (dz,) = primals, tangents
    slope = jax.lax.optimization_barrier(0.5 * jnp.tanh(0.5 * z) + 0.5)
    small = _sliced(jnp.maximum(slope, 1 - slope), lambda slices: jnp.log(pairwise(jnp.multiply, slices)))
    return jnp.sum(jnp.maximum(z, 0)) - small, jnp.vdot(slope, dz)


def one_logarithm(slices: list[jax.Array]) -> jax.Array:
    """Add softplus of at most eight vectors; the product is carried as product - 1, so that small terms are not lost.

    >>> float(one_logarithm([jnp.array([0.0]), jnp.array([-80.0])])[0]) == float(jnp.log1p(1.0))
    True
    """
    small = pairwise(lambda a, b: a + b + a * b, [exp_minus(jnp.abs(z)) for z in slices])  # (1 + a) (1 + b) - 1
    return pairwise(jnp.add, [jnp.maximum(z, 0) for z in slices]) + jnp.log1p(small)


def pairwise[T](combine: Callable[[T, T], T], items: list[T]) -> T:
    """Combine items as a balanced tree.

    >>> pairwise(lambda a, b: f"({a}{b})", list("abc"))
    '((ab)c)'
    """
    while len(items) > 1:
        paired = [combine(a, b) for a, b in zip(items[::2], items[1::2])]
        items = paired + items[2 * len(paired) :]
    return items[0]


def exp_minus(x: jax.Array) -> jax.Array:
    """Compute exp(-x) for x >= 0; in single precision to a rounding of 1 or of x, with 12 operations instead of 27.

    >>> exp_minus(jnp.array([0.0, jnp.inf])).tolist()
    [1.0, 0.0]
    """
    if x.dtype != jnp.float32:
        return jnp.exp(-x)
    power = jnp.maximum(x * np.float32(-math.log2(math.e)), np.float32(-127))
    floor = jnp.floor(power)
    part = power - floor
    mantissa = jnp.full_like(part, RISE[-1])
    for coefficient in RISE[-2::-1]:
        mantissa = mantissa * part + coefficient
    mantissa = mantissa * part + np.float32(1)
    # The exponent is added to its bits; at -127 and a mantissa of 1 all of them are zero.
    bits = jax.lax.bitcast_convert_type(mantissa, jnp.int32) + (floor.astype(jnp.int32) << 23)
    return jax.lax.bitcast_convert_type(bits, jnp.float32)


def _rise(degree: int) -> list[np.float32]:
    """Interpolate (2^f - 1) / f on 0 <= f <= 1 at Chebyshev's points; coefficients of f^0, f^1, ..."""
    fit = np.polynomial.Chebyshev.interpolate(lambda f: np.expm1(f * math.log(2.0)) / f, degree, domain=[0, 1])
    return [np.float32(c) for c in fit.convert(kind=np.polynomial.Polynomial).coef]


RISE = _rise(5)
