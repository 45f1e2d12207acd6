"""Short roots: triangular roots of many small matrices, and solves by them, written out number by number.

Law: the answers are those of the library's own routines to rounding. Those call LAPACK once a matrix, which for a
handful of numbers costs far more than the numbers; written out, they fuse with what is around them.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    return as_matrix(rows_of_root([[matrix[..., i, j] for j in range(i + 1)] for i in range(size)]))


def rows_of_root(matrix: Sequence[Sequence[jax.Array]]) -> list[list[jax.Array]]:
    """Give the lower triangle of the root by rows, of the lower triangle of positive matrices by rows.

    >>> [[float(x) for x in row] for row in rows_of_root([[jnp.array(4.0)], [jnp.array(2.0), jnp.array(10.0)]])]
    [[2.0], [1.0, 3.0]]
    """
    rows: list[list[jax.Array]] = []
    for i, given in enumerate(matrix):
        row: list[jax.Array] = []
        for j in range(i + 1):
            rest = given[j]
            for a, b in zip(row, row if i == j else rows[j], strict=False):
                rest = rest - a * b
            row.append(jnp.sqrt(rest) if i == j else rest / rows[j][j])
        rows.append(row)
    return rows


def as_matrix(rows: Sequence[Sequence[jax.Array]]) -> jax.Array:
    """Put a lower triangle by rows into matrices (..., n, n)."""
    size, none = len(rows), jnp.zeros_like(rows[0][0])
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
    size = range(root.shape[-1])
    return solved_rows(
        [[root[..., i, j] for j in range(i + 1)] for i in size], [vector[..., i] for i in size], transposed
    )


def solved_rows(
    root: Sequence[Sequence[jax.Array]], vector: Sequence[jax.Array], transposed: bool = False
) -> list[jax.Array]:
    """Solve as `solved`, of lower roots by rows and the numbers of vectors."""
    found: dict[int, jax.Array] = {}
    for i in reversed(range(len(root))) if transposed else range(len(root)):
        rest = vector[i]
        for j, known in found.items():
            rest = rest - (root[j][i] if transposed else root[i][j]) * known
        found[i] = rest / root[i][i]
    return [found[i] for i in range(len(root))]


def times(root: jax.Array, vector: jax.Array) -> jax.Array:
    """Multiply lower roots (..., n, n) by vectors (..., n); what stands above the diagonal is not read.

    >>> times(jnp.array([[2.0, 0.0], [1.0, 3.0]]), jnp.array([1.0, 2.0])).tolist()
    [2.0, 7.0]
    """
    size = root.shape[-1]
    if size > SHORT:
        return jnp.squeeze(jnp.tril(root) @ vector[..., None], -1)
    numbers = jax.lax.split(vector, (1,) * size, axis=vector.ndim - 1)
    rows = jax.lax.split(root, (1,) * size, axis=root.ndim - 2)
    found = []
    for i, row in enumerate(rows):
        parts = jax.lax.split(jnp.squeeze(row, -2), (1,) * size, axis=root.ndim - 2)
        found.append(sum((parts[j] * numbers[j] for j in range(1, i + 1)), parts[0] * numbers[0]))
    return jnp.concatenate(found, axis=-1)


def log_diagonal(root: jax.Array) -> jax.Array:
    """Give half the log determinant of root root', the sum of the logarithms of the diagonal.

    >>> round(float(log_diagonal(jnp.array([[2.0, 0.0], [1.0, 0.5]]))), 6)
    0.0
    """
    if root.shape[-1] > SHORT:
        return jnp.sum(jnp.log(jnp.diagonal(root, axis1=-2, axis2=-1)), axis=-1)
    return sum((jnp.log(root[..., i, i]) for i in range(1, root.shape[-1])), jnp.log(root[..., 0, 0]))
