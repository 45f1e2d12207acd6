"""Normal draws for many lanes from one key: two numbers from each block of random words, by their polar form.

Law: the pair (r cos t, r sin t) with r**2 / 2 exponential and t a uniform angle is two independent standard normals
(Box and Muller 1958). Why not by the inverse error function, as `jax.random.normal`: its two polynomials, a logarithm
and a root for each number cost more than the random words; by pairs a logarithm and a root serve two numbers.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .threefry import pairs

# sin(pi s / 2) = s P(s**2) on [-1, 1], off by at most 6e-9; lowest power first.
SINE = tuple(np.float32(c) for c in (1.57079632, -0.645963704, 0.0796896573, -0.00467373815, 0.000151472635))
QUARTER = np.int32(1 << 30)  # a quarter turn, in units of 2**-32 turns


def standard_normals(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draw independent standard normals in float32 with one threefry key.

    >>> z = standard_normals(jax.random.key(0), (1000, 100))
    >>> z.shape, bool(abs(z.mean()) < 0.02), bool(abs(z.var() - 1) < 0.03)
    ((1000, 100), True, True)
    """
    count = math.prod(shape)
    first, second = pairs(key, count)
    # 31 bits, made odd: never zero, and radii up to 6.6.
    fraction = (_signed(first >> np.uint32(1)) | 1).astype(jnp.float32) * np.float32(2.0**-31)
    # Without the barrier XLA computes each radius once for each of its two numbers.
    radius, angle = lax.optimization_barrier((jnp.sqrt(-2 * jnp.log(fraction)), second))
    halves = (radius * cosine(_signed(angle)), radius * cosine(_signed(angle) - QUARTER))
    return jnp.concatenate(halves)[:count].reshape(shape)


def cosine(angle: jax.Array) -> jax.Array:
    """Cosine of an angle that is given as a signed integer, in units of 2**-32 turns.

    >>> bool(jnp.allclose(cosine(jnp.array([0, 1 << 29, 1 << 30])), jnp.array([1.0, 2**-0.5, 0.0]), atol=1e-6))
    True
    """
    s = (QUARTER - jnp.abs(angle)).astype(jnp.float32) * np.float32(2.0**-30)  # cos x = sin(pi/2 - |x|)
    square = s * s
    value: jax.Array | np.float32 = SINE[-1]
    for coefficient in SINE[-2::-1]:
        value = value * square + coefficient
    return value * s


def _signed(words: jax.Array) -> jax.Array:
    return lax.bitcast_convert_type(words, jnp.int32)
