"""Along axes: products of matrices, reductions, and operations on the matrices in the last two axes.

Law: products that are summed stay a sum of products. Elsewhere the variables of all numbers of a slice, or of a matrix,
meet; those of different slices, or matrices of a batch, do not.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from lawful.form.operations.equation import Equation

from .lifted import Table, Terms, aligned, applied, elements, of, plain, spread_states, terms

type Shape = tuple[int, ...]


def contracted(lifting: Any, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
    """Multiply elements and sum the products: the axes behind the shape are summed."""
    (left_in, right_in), (left_with, right_with) = equation.contraction
    ids = []
    for value, inside, beside in ((full[0], left_in, left_with), (full[1], right_in, right_with)):
        own = np.arange(math.prod(value.shape)).reshape(value.shape)
        free = [d for d in range(own.ndim) if d not in inside and d not in beside]
        ids.append((own, list(beside), free, list(inside)))
    (a, a_beside, a_free, a_in), (b, b_beside, b_free, b_in) = ids
    n, m, k = len(a_beside), len(a_free), len(b_free)
    a = np.transpose(a, (*a_beside, *a_free, *a_in))
    b = np.transpose(b, (*b_beside, *b_free, *b_in))
    a = a.reshape((*a.shape[: n + m], *[1] * k, *a.shape[n + m :]))
    b = b.reshape((*b.shape[:n], *[1] * m, *b.shape[n:]))
    a, b = np.broadcast_arrays(a, b)
    left, right = elements(full[0], a), elements(full[1], b)
    wide = tuple(a.shape)
    if isinstance(left, Terms) and isinstance(right, Terms):
        product = lifting.product(left, right)
    else:
        value, other = (left, right) if isinstance(left, Terms) else (right, left)
        product = lifting.scaled([value, other], wide, operator.mul)
    return Terms(shape, product.parts)


def reduced(lifting: Any, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
    """Reduce along axes: the variables of each slice meet, those of different slices do not."""
    table, axes = lifting.single(full[0]), equation.axes
    kept = [a for a in range(len(table.shape)) if a not in axes]
    order = [*kept, *axes]
    along = tuple(table.shape[a] for a in axes)
    moved = Table(
        table.array.transpose((*range(table.arity), *(table.arity + a for a in order))).reshape(
            (*table.cardinalities, *shape, math.prod(along))
        ),
        np.transpose(table.scopes, (*order, len(order))).reshape((*shape, math.prod(along), table.arity)),
    )
    pieces = [Table(moved.array[..., k], moved.scopes[..., k, :]) for k in range(math.prod(along))]
    arrays, scopes = aligned(pieces, lifting.budget)
    stacked = of(*arrays).stack([spread_states(x, arrays, shape) for x in arrays], axis=-1)
    states = stacked.shape[: scopes.shape[-1]]
    back = np.argsort(order)
    whole = stacked.reshape((math.prod(states), *shape, *along)).transpose((0, *(int(k) + 1 for k in back)))
    (found,) = applied(jax.vmap(equation), [whole])
    return terms(Table(found.reshape((*states, *shape)), scopes))


def by_matrices(lifting: Any, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
    """Apply an operation on the matrices in the last two axes, as a Cholesky factor is one: each meets by itself.

    Raises: Budget where too many variables meet.
    """
    if not math.prod(shape):
        return None
    tables = [lifting.single(value) if isinstance(value, Terms) else plain(value) for value in full]
    batch = shape[:-2]
    numbers = [
        Table(table.array[..., i, j], table.scopes[..., i, j, :])
        for table in tables
        for i, j in np.ndindex(table.shape[-2:])
    ]
    arrays, scopes = aligned(numbers, lifting.budget)
    states = tuple(max(x.shape[k] for x in arrays) for k in range(scopes.shape[-1]))
    spread = iter([spread_states(x, arrays, batch) for x in arrays])
    operands = []
    for table in tables:
        own = [next(spread) for _ in np.ndindex(table.shape[-2:])]
        operands.append(of(*own).stack(own, axis=-1).reshape((-1, *batch, *table.shape[-2:])))
    (found,) = applied(jax.vmap(equation), operands)
    where = np.broadcast_to(scopes[..., None, None, :], (*shape, scopes.shape[-1]))
    return terms(Table(found.reshape((*states, *shape)), where))
