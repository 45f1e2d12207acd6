"""Indexing: elements of a value at an index, and sums of those that an index sends to one place.

Law: an element knows where it comes from. At an index that depends on variables, an element reads these as well; the
result at a place is the sum of the updates that land there, which rows list, padded by updates that do not count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from lawful.form.operations.equation import Equation
from lawful.form.operations.on_numpy import evaluate

from .lifted import (
    Table,
    Terms,
    abstract,
    aligned,
    applied,
    behind,
    elements,
    kept_where,
    numbers_of,
    of,
    plain,
    spread_states,
    terms,
)

type Shape = tuple[int, ...]


def scattered(lifting: Any, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
    """Add elements at known places, as a sum by segment does."""
    operand, index, updates = full
    lands = None if isinstance(index, Terms) else landing(equation.places, index, shape, abstract(updates).shape)
    if lands is None or not isinstance(updates, Terms) or any(p.arity > 1 for p in updates.parts):
        return None
    by_place = elements(updates, rows_of(lands, math.prod(shape)).reshape((*shape, -1)))
    real = counted_rows(lands, math.prod(shape)).reshape((*shape, -1))
    summed = []
    for part in by_place.parts:
        array = kept_where(behind(real, part, real.shape), part.array)
        summed.append(Table(array, part.scopes))
    start = operand.parts if isinstance(operand, Terms) else (plain(operand),)
    return Terms(shape, (*start, *summed))


def gathered(lifting: Any, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
    """Take elements of an array that depends on nothing, at an index that does."""
    operand, index = full
    if isinstance(operand, Terms):
        if isinstance(index, Terms):
            return None
        found = lifting.rearranged(equation, full)
        return _taken(lifting, equation, operand, index, shape) if found is None else found
    table = lifting.single(index)
    pieces = [Table(table.array[..., k], table.scopes[..., k, :]) for k in range(table.shape[-1])]
    if not pieces:
        return None
    arrays, scopes = aligned(pieces, lifting.budget)
    batch = table.shape[:-1]
    stacked = of(*arrays).stack([spread_states(x, arrays, batch) for x in arrays], axis=-1)
    cards = stacked.shape[: scopes.shape[-1]]
    many = jax.vmap(equation, in_axes=(None, 0))
    (found,) = applied(many, [operand, stacked.reshape((-1, *table.shape))])
    offset = tuple(int(d) for d in equation.places.offset_dims)
    sizes = [1 if d in offset else shape[d] for d in range(len(shape))]
    spread = np.broadcast_to(scopes.reshape((*sizes, scopes.shape[-1])), (*shape, scopes.shape[-1]))
    return terms(Table(found.reshape((*cards, *shape)), spread))


def _taken(lifting: Any, equation: Equation, operand: Terms, index: Any, shape: Shape) -> Any:
    """Take elements at an index without a value yet, as that of data, where it picks among readers of the same."""
    table = lifting.single(operand)
    first = table.scopes
    for axis in equation.places.start_index_map:
        first = np.take(first, [0], axis=int(axis))
    if not np.array_equal(np.broadcast_to(first, table.scopes.shape), table.scopes):
        return None
    at = np.asarray(evaluate(equation, [numbers_of(table), np.zeros(index.shape, index.dtype)])[0])
    many = jax.vmap(equation, in_axes=(0, None))
    (found,) = applied(many, [table.array.reshape((-1, *table.shape)), index])
    return terms(Table(found.reshape((*table.cardinalities, *shape)), table.scopes.reshape((-1, table.arity))[at]))


def landing(numbers: Any, index: Any, shape: tuple[int, ...], updates: tuple[int, ...]) -> Any:
    """Give the place of each element of the updates in the result, in row-major order; None where it is not plain.

    Args:
        numbers: which axes the index counts along.
        index: where the updates go.
        shape: of the result.
        updates: shape of the updates.
    """
    if isinstance(index, jax.core.Tracer) or numbers.operand_batching_dims:
        return None
    window = list(numbers.update_window_dims)
    batch = [d for d in range(len(updates)) if d not in window]
    grid = np.indices(updates).reshape((len(updates), -1))
    starts = np.asarray(index)[tuple(grid[d] for d in batch)]  # (elements, index length)
    places = np.zeros((len(shape), grid.shape[1]), np.int64)
    within = [d for d in range(len(shape)) if d not in numbers.inserted_window_dims]
    for axis, d in zip(within, window, strict=True):
        places[axis] = grid[d]
    for k, axis in enumerate(numbers.scatter_dims_to_operand_dims):
        places[axis] += starts[:, k]
    limits = np.array(shape)[:, None]
    if np.any((places < 0) | (places >= limits)):
        return None
    return np.ravel_multi_index(tuple(places), shape) if shape else np.zeros(grid.shape[1], np.int64)


def rows_of(lands: np.ndarray, size: int) -> np.ndarray:
    """List the updates of each place (size, most); those beyond repeat its first one, or the first of all.

    >>> rows_of(np.array([1, 1, 0]), 2).tolist()
    [[2, 2], [0, 1]]
    """
    order, sizes, starts = _sorted(lands, size)
    most = int(sizes.max(initial=0))
    inside = np.arange(most)[None] < sizes[:, None]
    where = np.where(inside, starts[:, None] + np.arange(most)[None], np.where(sizes > 0, starts, 0)[:, None])
    return order[where] if math.prod(where.shape) else np.zeros(where.shape, np.int64)


def counted_rows(lands: np.ndarray, size: int) -> np.ndarray:
    """Tell which of the rows of `rows_of` count (size, most)."""
    _, sizes, _ = _sorted(lands, size)
    return np.arange(int(sizes.max(initial=0)))[None] < sizes[:, None]


def _sorted(lands: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order, sizes = np.argsort(lands, kind="stable"), np.bincount(lands, minlength=size)
    return order, sizes, np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
