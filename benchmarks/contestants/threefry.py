"""Standard normals on CPUs at half the price: threefry written out, so that XLA fuses it with what uses it.

On CPUs `jax.random` lowers threefry as a rolled loop that nothing fuses with and that XLA may spread over threads, and
by default it spends one block on each 32-bit word though a block makes two. Law: the words are those of threefry2x32
on the counters 0..N-1, as `jax.random.bits` draws them under `jax.threefry_partitionable(False)` for even N; the
normals follow by the same inverse of erf.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
LOWEST = np.nextafter(np.float32(-1), np.float32(0))


def threefry(key: jax.Array, x0: jax.Array, x1: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Threefry-2x32, twenty rounds (Salmon, Moraes, Dror and Shaw 2011), elementwise on two counters."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    x0, x1 = x0 + schedule[0], x1 + schedule[1]
    for group in range(5):
        for r in ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = x0 ^ ((x1 << np.uint32(r)) | (x1 >> np.uint32(32 - r)))
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return x0, x1


def bits(key: jax.Array, n: int) -> jax.Array:
    """N words from N/2 blocks. The barrier keeps the blocks from being computed once for each of their words."""
    half = n // 2
    counter = lax.iota(jnp.uint32, half)
    blocks = threefry(jax.random.key_data(key), counter, counter + np.uint32(half))
    return jnp.concatenate(lax.optimization_barrier(blocks))


def normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Standard normals from 23 bits each, as `jax.random.normal` makes them."""
    (n,) = shape
    if n % 2:
        raise ValueError(f"normal: expected an even number of draws, got {n}.")
    mantissa = (bits(key, n) >> np.uint32(9)) | np.uint32(0x3F800000)
    unit = lax.bitcast_convert_type(mantissa, jnp.float32) - np.float32(1)
    uniform = jnp.maximum(LOWEST, unit * (np.float32(1) - LOWEST) + LOWEST)
    return np.float32(math.sqrt(2)) * lax.erf_inv(uniform)
