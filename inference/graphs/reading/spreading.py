"""Spreading: tables and arrays get further axes, along which they are repeated.

Law: the value at every assignment and element is what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..model.known import of
from .lifted import Table


def behind(array: Any, part: Table, shape: tuple[int, ...]) -> Any:
    """Give an array of a value's shape axes for the states before, and for what is summed behind."""
    return array.reshape((*[1] * part.arity, *shape, *[1] * (len(part.shape) - len(shape))))


def with_axes(part: Table, lead: int, before: tuple[int, ...], behind: tuple[int, ...]) -> Table:
    """Repeat a table along new axes: some after the first ones, some at the end."""
    first, last = part.shape[:lead], part.shape[lead:]
    small = (*first, *[1] * len(before), *last, *[1] * len(behind))
    shape = (*first, *before, *last, *behind)
    array = part.array.reshape((*part.cardinalities, *small))
    array = of(array).broadcast_to(array, (*part.cardinalities, *shape))
    scopes = np.broadcast_to(part.scopes.reshape((*small, part.arity)), (*shape, part.arity))
    return Table(array, scopes)


def spread_states(array: Any, arrays: Sequence[Any], shape: tuple[int, ...]) -> Any:
    """Repeat an array over the states of all that it was aligned with."""
    count = array.ndim - len(shape)
    states = tuple(max(x.shape[k] for x in arrays) for k in range(count))
    return of(array).broadcast_to(array, (*states, *shape))
