"""Threefry: random words for many lanes from one key, and keys of keys, written out, two words from each block.

Law: the words are those of threefry-2x32 on counters that are all different under the key, as `jax.random.bits` draws
them with `jax_threefry_partitionable` off for an even number of words; keys are those of `jax.random.fold_in`. Why: on
CPUs JAX lowers threefry as a rolled loop that nothing fuses with, and by default spends one block on each word; written
out it costs half (benchmarks/README.md has the figures), and a key compiles to two operations, not nine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = np.uint32(0x1BD11BDA)


def blocks(key: Sequence[jax.Array] | jax.Array, x0: jax.Array, x1: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Threefry-2x32, twenty rounds (Salmon, Moraes, Dror and Shaw 2011), elementwise on two counters.

    The two words of the key may be arrays, which then give an element each.
    """
    schedule = (key[0], key[1], key[0] ^ key[1] ^ PARITY)
    x0, x1 = x0 + schedule[0], x1 + schedule[1]
    for group in range(5):
        for r in ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = x0 ^ ((x1 << np.uint32(r)) | (x1 >> np.uint32(32 - r)))
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return x0, x1


def is_threefry(key: jax.Array) -> bool:
    """Tell whether a scalar typed key is of this generator."""
    return key.ndim == 0 and _of_threefry(key)


def _of_threefry(keys: jax.Array) -> bool:
    return "threefry2x32" in str(jax.random.key_impl(keys))


@partial(jax.jit, inline=True)  # what runs eagerly is compiled once for its shapes
def fold_in(keys: jax.Array, numbers: jax.Array | np.ndarray) -> jax.Array:
    """Fold numbers into typed keys, as far as their shapes broadcast; another generator's by `jax.random.fold_in`.

    >>> keys = fold_in(jax.random.key(1), jnp.arange(3))
    >>> bool(keys[2] == jax.random.fold_in(jax.random.key(1), 2))
    True
    """
    shape = jnp.broadcast_shapes(keys.shape, numbers.shape)
    if not _of_threefry(keys):
        flat = jnp.broadcast_to(keys, shape).reshape(-1), jnp.broadcast_to(numbers, shape).reshape(-1)
        return jax.vmap(jax.random.fold_in)(*flat).reshape(shape)
    data = jax.random.key_data(keys)
    counter = jnp.broadcast_to(numbers, shape).astype(jnp.uint32)
    pair = blocks((data[..., 0], data[..., 1]), jnp.zeros_like(counter), counter)
    return jax.random.wrap_key_data(jnp.stack(lax.optimization_barrier(pair), -1), impl=jax.random.key_impl(keys))


def pairs(key: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Compute the blocks for `count` words, the two words of each apart; an odd count leaves one word unused."""
    half = (count + 1) // 2
    if half >= 1 << 31:
        raise OverflowError(f"one key serves at most 2^32 words, got {count}.")
    counter = lax.iota(jnp.uint32, half)
    return blocks(jax.random.key_data(key), counter, counter + np.uint32(half))


def words(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draw 32-bit words with one key; another generator's key draws them by `jax.random.bits`.

    >>> with jax.threefry_partitionable(False):
    ...     same = words(jax.random.key(1), (4,)) == jax.random.bits(jax.random.key(1), (4,), jnp.uint32)
    >>> bool(same.all())
    True
    """
    if not is_threefry(key):
        return jax.random.bits(key, shape, jnp.uint32)
    count = math.prod(shape)
    # Without the barrier XLA computes each block once for each of its words.
    return jnp.concatenate(lax.optimization_barrier(pairs(key, count)))[:count].reshape(shape)
