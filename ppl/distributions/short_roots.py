"""Short roots: triangular roots of many small matrices, and solves by them, written out number by number.

Law: the answers are those of the library's own routines to rounding. Those call LAPACK once a matrix, which for a
handful of numbers costs far more than the numbers; written out, they fuse with what is around them.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.lax.linalg import triangular_solve

SHORT = 4  # rows up to which matrices are written out


def root_of(matrix: jax.Array) -> jax.Array:
    """Give the lower root of positive matrices (..., n, n); it holds NaN where one is not positive.

    >>> root_of(jnp.array([[4.0, 2.0], [2.0, 10.0]])).tolist()
    [[2.0, 0.0], [1.0, 3.0]]
    """
    size = matrix.shape[-1]
    if size > SHORT:
        return jnp.linalg.cholesky(matrix)
    rows: list[list[jax.Array]] = []
    for i in range(size):
        row: list[jax.Array] = []
        for j in range(i + 1):
            rest = matrix[..., i, j]
            for a, b in zip(row, row if i == j else rows[j], strict=False):
                rest = rest - a * b
            row.append(jnp.sqrt(rest) if i == j else rest / rows[j][j])
        rows.append(row)
    none = jnp.zeros(matrix.shape[:-2], matrix.dtype)
    return jnp.stack([jnp.stack([*row, *[none] * (size - len(row))], axis=-1) for row in rows], axis=-2)


def solved(root: jax.Array, vector: jax.Array, transposed: bool = False) -> jax.Array:
    """Solve root x = vector, or its transpose, for lower roots (..., n, n) and vectors (..., n).

    >>> root = jnp.array([[2.0, 0.0], [1.0, 3.0]])
    >>> solved(root, jnp.array([4.0, 5.0])).tolist(), solved(root, jnp.array([5.0, 3.0]), transposed=True).tolist()
    ([2.0, 1.0], [2.0, 1.0])
    """
    size = root.shape[-1]
    if size > SHORT:
        batch = jnp.broadcast_shapes(root.shape[:-2], vector.shape[:-1])
        root, vector = jnp.broadcast_to(root, (*batch, size, size)), jnp.broadcast_to(vector, (*batch, size))
        return triangular_solve(root, vector[..., None], left_side=True, lower=True, transpose_a=transposed)[..., 0]
    return jnp.stack(numbers(root, vector, transposed), axis=-1)


def numbers(root: jax.Array, vector: jax.Array, transposed: bool = False) -> list[jax.Array]:
    """Solve as `solved`, written out whatever the size, and give the numbers of the answer one by one."""
    size = root.shape[-1]
    found: dict[int, jax.Array] = {}
    for i in reversed(range(size)) if transposed else range(size):
        rest = vector[..., i]
        for j, known in found.items():
            rest = rest - (root[..., j, i] if transposed else root[..., i, j]) * known
        found[i] = rest / root[..., i, i]
    return [found[i] for i in range(size)]


def log_diagonal(root: jax.Array) -> jax.Array:
    """Give half the log determinant of root root', the sum of the logarithms of the diagonal.

    >>> round(float(log_diagonal(jnp.array([[2.0, 0.0], [1.0, 0.5]]))), 6)
    0.0
    """
    if root.shape[-1] > SHORT:
        return jnp.sum(jnp.log(jnp.diagonal(root, axis1=-2, axis2=-1)), axis=-1)
    return sum((jnp.log(root[..., i, i]) for i in range(1, root.shape[-1])), jnp.log(root[..., 0, 0]))
