"""Matrices: lifted values through operations on the matrices in the last two axes, as a Cholesky factor is one.

Law: the variables of all numbers of a matrix meet; those of different matrices of a batch do not.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from lawful.form.operations.equation import Equation

from ..model.known import applied, of
from .lifted import Table, aligned
from .spreading import spread_states


def by_matrices(equation: Equation, tables: Sequence[Table], shape: tuple[int, ...], budget: int) -> Table:
    """Apply an operation on matrices.

    Args:
        equation: the operation; each operand has the batch of the result.
        tables: its operands (*batch, rows, columns).
        shape: of the result (*batch, rows, columns).
        budget: largest number of states of the variables of one matrix.

    Raises: Budget where too many variables meet.
    """
    batch = shape[:-2]
    numbers = [
        Table(table.array[..., i, j], table.scopes[..., i, j, :])
        for table in tables
        for i, j in np.ndindex(table.shape[-2:])
    ]
    arrays, scopes = aligned(numbers, budget)
    states = tuple(max(x.shape[k] for x in arrays) for k in range(scopes.shape[-1]))
    spread = iter([spread_states(x, arrays, batch) for x in arrays])
    operands = []
    for table in tables:
        own = [next(spread) for _ in np.ndindex(table.shape[-2:])]
        operands.append(of(*own).stack(own, axis=-1).reshape((-1, *batch, *table.shape[-2:])))
    (found,) = applied(jax.vmap(equation), operands)
    where = np.broadcast_to(scopes[..., None, None, :], (*shape, scopes.shape[-1]))
    return Table(found.reshape((*states, *shape)), where)
