"""Log Jacobian: log |det| of a map over the continuous coordinates that it moves and that are there.

Law: with a the coordinates that are active before the map and b those after it, the density of the new coordinates is
that of the old ones over |det J[b, a]|; where a and b differ in number there is no density. A result that passes a
value on is a row with a single one, which is left out together with its column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from lawful.backends.xla import emit
from lawful.form import Form
from lawful.form.liveness import without_dead_code

from .maps import MapForm, refuse_surface


@dataclass(frozen=True)
class LogJacobian:
    """The function of all values of a map, then of the flags (before, after) of its conditional entries in order.

    Gives log |det J|, and whether as many coordinates are there after the map as before.

    Attributes:
        form: gives the results `rows` from all values.
        rows: results that are computed or may begin or stop to be there, as numbers of entries.
        columns: the values on which these may depend.
        shapes: of all entries.
        loops: number of axes that a flag has, for conditional entries; None for the others.
    """

    form: Form
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    loops: tuple[int | None, ...]

    def __call__(self, *operands: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Differentiate the map at a point."""
        n, conditional = len(self.shapes), [i for i, loops in enumerate(self.loops) if loops is not None]
        values, flags = operands[:n], operands[n:]
        before, after = (
            dict(zip(conditional, group, strict=True))
            for group in (flags[: len(conditional)], flags[len(conditional) :])
        )
        dtype = jnp.result_type(float)
        run, sizes = emit(self.form), [math.prod(self.shapes[c]) for c in self.columns]

        def rows(free: jax.Array) -> jax.Array:
            full, start = list(values), 0
            for c, size in zip(self.columns, sizes, strict=True):
                full[c] = free[start : start + size].reshape(self.shapes[c]).astype(values[c].dtype)
                start += size
            outputs, _ = run(jax.random.key(0), *full)
            return _joined(outputs, dtype)

        matrix = jax.jacfwd(rows)(_joined([values[c] for c in self.columns], dtype))
        if not set(conditional) & set(self.rows) | set(conditional) & set(self.columns):
            return log_abs_det(matrix), jnp.ones((), bool)
        row, column = self._active(self.rows, after), self._active(self.columns, before)
        return active_log_abs_det(matrix, row, column), jnp.sum(row) == jnp.sum(column)

    def _active(self, entries: Sequence[int], flags: dict[int, jax.Array]) -> jax.Array:
        """Tell which coordinates of some entries are there."""
        parts = []
        for i in entries:
            flag = jnp.ones((), bool)
            if i in flags:
                flag = flags[i].reshape(flags[i].shape + (1,) * (len(self.shapes[i]) - flags[i].ndim))
            parts.append(jnp.broadcast_to(flag, self.shapes[i]).reshape(-1))
        return jnp.concatenate(parts)


def log_jacobian_of(moved: MapForm, name: str) -> LogJacobian | None:
    """Write the log Jacobian of a map; None where it is zero whatever the values.

    Raises: UnsupportedProgramError where it moves a value on a surface.
    """
    continuous = [i for i, e in enumerate(moved.entries) if e.continuous]
    left_out, gone = set(), set()
    for i in continuous:
        source = moved.passed[i]
        if source is not None and source in continuous and source not in gone and moved.moves_whole(i, source):
            left_out.add(i)
            gone.add(source)
    rows = tuple(i for i in continuous if i not in left_out)
    columns = tuple(i for i in continuous if i not in gone)
    if not any(math.prod(moved.entries[i].choice.full_shape) for i in (*rows, *columns)):
        return None
    for i in dict.fromkeys((*rows, *columns)):
        refuse_surface(moved.entries[i], name)
    form = moved.form
    outputs = tuple(form.outputs[i] for i in rows)
    small = without_dead_code(Form(form.inputs, form.nodes, outputs, form.constants))
    shapes = tuple(e.choice.full_shape for e in moved.entries)
    loops = tuple(len(e.choice.loops) if e.choice.conditional else None for e in moved.entries)
    return LogJacobian(small, rows, columns, shapes, loops)


def log_abs_det(matrix: jax.Array) -> jax.Array:
    """Log |det| of a square matrix.

    >>> round(float(log_abs_det(jnp.array([[0.0, 2.0], [3.0, 0.0]]))), 4)
    1.7918
    """
    if matrix.shape == (1, 1):
        return jnp.log(jnp.abs(matrix[0, 0]))
    return jnp.linalg.slogdet(matrix)[1]


def active_log_abs_det(matrix: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Log |det| of the active rows and columns of a matrix, in order, as many of the ones as of the others.

    >>> matrix = jnp.array([[2.0, 7.0], [5.0, 9.0]])
    >>> round(float(jnp.exp(active_log_abs_det(matrix, jnp.array([True, False]), jnp.array([False, True])))), 4)
    7.0
    """
    size = max(matrix.shape)
    square = jnp.zeros((size, size), matrix.dtype).at[: matrix.shape[0], : matrix.shape[1]].set(matrix)
    first_rows, first_columns = (
        jnp.argsort(~jnp.pad(mask, (0, size - mask.size)), stable=True) for mask in (rows, columns)
    )
    inside = jnp.arange(size) < jnp.sum(rows)
    block = square[first_rows][:, first_columns]
    return log_abs_det(jnp.where(inside[:, None] & inside[None, :], block, jnp.eye(size, dtype=matrix.dtype)))


def _joined(values: Sequence[jax.Array], dtype: jnp.dtype) -> jax.Array:
    return jnp.concatenate([v.reshape(-1).astype(dtype) for v in values] or [jnp.zeros((0,), dtype)])
