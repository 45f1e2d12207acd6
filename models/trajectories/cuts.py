"""Cutting arrays into parts, each once.

Law: the reverse pass joins what the parts get in one piece of work, where indexing would scatter, or pad and add, for
each part. The density of a class reads every entry of its small matrices by itself, so this halves its gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax

__all__ = ["entries", "split", "triangle"]


def split(x: jax.Array, sizes: Sequence[int], axis: int = 0) -> list[jax.Array]:
    """Cut along an axis into parts of given sizes.

    >>> import jax.numpy as jnp
    >>> [part.tolist() for part in split(jnp.arange(3), [2, 0, 1])]
    [[0, 1], [], [2]]
    """
    return list(jax.lax.split(x, tuple(sizes), axis=axis))


def entries(x: jax.Array) -> list[jax.Array]:
    """Give the entries along the first axis.

    >>> import jax.numpy as jnp
    >>> [entry.tolist() for entry in entries(jnp.arange(4).reshape(2, 2))]
    [[0, 1], [2, 3]]
    """
    return [jax.lax.squeeze(part, (0,)) for part in split(x, (1,) * len(x))] if len(x) else []


def triangle(flat: jax.Array, p: int) -> list[list[jax.Array]]:
    """Give the rows of entries (k, 1, ...) of lower triangles that are written row by row (k, p (p + 1) / 2, ...).

    >>> import jax.numpy as jnp
    >>> [[float(entry[0, 0]) for entry in row] for row in triangle(jnp.arange(3.0)[None], 2)]
    [[0.0], [1.0, 2.0]]
    """
    parts = iter(split(flat, (1,) * flat.shape[1], axis=1) if flat.shape[1] else [])
    return [[next(parts) for _ in range(a + 1)] for a in range(p)]
