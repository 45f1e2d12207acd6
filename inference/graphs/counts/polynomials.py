"""Polynomials in lanes: products and correlations of coefficient arrays (degree + 1, lanes), all terms positive.

Law: `multiply(a, b)[k] = sum_u a[u] b[k - u]` and `correlate(a, g)[t] = sum_u a[u] g[t + u]`, summed in ascending u, so
that coefficients of zero beyond the degree leave every bit of the others as it is. Nothing is subtracted: the relative
error is that of a sum of positive terms. The Fourier forms have an error relative to the largest coefficient instead.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

WRITTEN_OUT = 40  # terms up to which a sum is one expression; beyond, a loop over groups of terms
GROUP = 12


def multiply(a: Float[Array, "A lanes"], b: Float[Array, "B lanes"]) -> Float[Array, "AB lanes"]:
    """Multiply polynomials lane by lane: (A, lanes) and (B, lanes) give (A + B - 1, lanes).

    >>> multiply(jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [1.0]])).ravel().tolist()
    [3.0, 7.0, 2.0]
    """
    if len(a) < len(b):
        a, b = b, a
    length = len(a) + len(b) - 1
    padded = jnp.pad(a, ((len(b) - 1, len(b) - 1), (0, 0)))
    return _sliding(jnp.flip(b, 0), padded, length)


def correlate(a: Float[Array, "A lanes"], g: Float[Array, "G lanes"], length: int) -> Float[Array, "L lanes"]:
    """Correlate lane by lane: `length` values t of sum_u a[u] g[t + u]; g needs A + length - 1 rows.

    >>> correlate(jnp.array([[1.0], [2.0]]), jnp.array([[0.0], [1.0], [1.0]]), 2).ravel().tolist()
    [2.0, 3.0]
    """
    return _sliding(a, g[: len(a) + length - 1], length)


def _sliding(a: jax.Array, g: jax.Array, length: int) -> jax.Array:
    if len(a) <= WRITTEN_OUT:
        return _terms(a, g, length)
    groups = -(-len(a) // GROUP)
    a = jnp.pad(a, ((0, groups * GROUP - len(a)), (0, 0)))
    g = jnp.pad(g, ((0, groups * GROUP + length - 1 - len(g)), (0, 0)))

    def add(k: jax.Array, total: jax.Array) -> jax.Array:
        some = jax.lax.dynamic_slice_in_dim(a, k * GROUP, GROUP)
        window = jax.lax.dynamic_slice_in_dim(g, k * GROUP, length + GROUP - 1)
        # Without the barrier each term would slice for itself, which takes several times as long.
        some, window = (jax.lax.optimization_barrier(x) for x in (some, window))
        return _terms(some, window, length, total)

    start = jnp.zeros((length, a.shape[1]), a.dtype)
    return jax.lax.fori_loop(0, groups, add, start)


def _terms(a: jax.Array, g: jax.Array, length: int, total: jax.Array | None = None) -> jax.Array:
    for u in range(len(a)):
        term = a[u][None] * g[u : u + length]
        total = term if total is None else total + term
    assert total is not None
    return total


def multiply_by_fourier(a: Float[Array, "A lanes"], b: Float[Array, "B lanes"]) -> Float[Array, "AB lanes"]:
    """Multiply as `multiply` does, by fast Fourier transforms; negative rounding errors are clipped to 0.

    >>> out = multiply_by_fourier(jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [1.0]])).ravel()
    >>> bool(jnp.allclose(out, jnp.array([3.0, 7.0, 2.0])))
    True
    """
    length = len(a) + len(b) - 1
    size = _transform_length(length)
    product = jnp.fft.rfft(a, size, axis=0) * jnp.fft.rfft(b, size, axis=0)
    return jnp.maximum(jnp.fft.irfft(product, size, axis=0)[:length], 0)


def correlate_by_fourier(
    a: Float[Array, "A lanes"], g: Float[Array, "G lanes"], length: int
) -> Float[Array, "L lanes"]:
    """Correlate as `correlate` does, by fast Fourier transforms; negative rounding errors are clipped to 0.

    >>> out = correlate_by_fourier(jnp.array([[1.0], [2.0]]), jnp.array([[0.0], [1.0], [1.0]]), 2).ravel()
    >>> bool(jnp.allclose(out, jnp.array([2.0, 3.0]), atol=1e-6))
    True
    """
    g = g[: len(a) + length - 1]
    size = _transform_length(len(g))  # no value t < length wraps round
    product = jnp.conj(jnp.fft.rfft(a, size, axis=0)) * jnp.fft.rfft(g, size, axis=0)
    return jnp.maximum(jnp.fft.irfft(product, size, axis=0)[:length], 0)


def _transform_length(least: int) -> int:
    """Round up to four significant binary digits, so that the factors of a length are small."""
    unit = 1 << max(least.bit_length() - 4, 0)
    return -(-least // unit) * unit
