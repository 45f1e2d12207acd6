"""Rows of data in blocks, and sums over them in bounded memory.

Law: `total(rows, f)` is the sum of f over the blocks, which is the sum over the rows for every f that adds up its own;
rows that fill the last block up have weight 0. The size of the blocks is no part of the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

__all__ = ["BLOCK", "Rows", "pairs", "rows_of", "total"]

BLOCK = 2048


class Rows(NamedTuple):
    """Data in m blocks of size c, rows along the last axis, where loops over few experts leave it contiguous.

    Attributes:
        x: covariates, and ones below them (m, d + 1, c).
        y: answers (m, c).
        weight: what each row counts (m, c).
    """

    x: Any
    y: Any
    weight: Any


def rows_of(x: Float[Array, "n d"], y: Float[Array, " n"], weight: Any = None, block: int = BLOCK) -> Rows:
    """Cut data into blocks.

    Args:
        x: covariates (n, d).
        y: answers (n,).
        weight: what each row counts (n,); 1 by default.
        block: largest number of rows of a block.

    >>> rows_of(jnp.zeros((5, 2)), jnp.zeros(5), block=3).weight.tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]
    """
    n = len(y)
    weight = jnp.ones_like(y) if weight is None else weight
    c = min(block, n)
    m = -(-n // c)
    columns = jnp.concatenate([x, jnp.ones((n, 1), x.dtype)], axis=1)

    def cut(values: jax.Array) -> jax.Array:
        filled = jnp.pad(values, [(0, m * c - n)] + [(0, 0)] * (values.ndim - 1))
        return filled.reshape(m, c, *values.shape[1:])

    return Rows(jnp.swapaxes(cut(columns), 1, 2), cut(y), cut(weight))


def total(rows: Rows, function: Callable[[Rows], Any]) -> Any:
    """Add up function(block), a tree of arrays, over the blocks, each of them without its first axis."""
    if len(rows.y) == 1:
        return function(Rows(*(value[0] for value in rows)))
    shapes = jax.eval_shape(function, Rows(*(value[0] for value in rows)))
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return lax.scan(lambda sums, block: (jax.tree.map(jnp.add, sums, function(block)), None), zero, rows)[0]


def pairs(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number the pairs i <= j below a size: their two indices, and the number of each pair in either order.

    >>> [array.tolist() for array in pairs(2)]
    [[0, 0, 1], [0, 1, 1], [[0, 1], [1, 2]]]
    """
    one, other = np.triu_indices(size)
    number = np.zeros((size, size), int)
    number[one, other] = number[other, one] = np.arange(len(one))
    return one, other, number
