"""Lifted values: what a program computes, by the states of the finite variables that each element depends on.

Law: for every assignment of the variables, picking the states in a lifted value gives what the program computes under
the assignment. An element knows its own variables only, so the tables of a million factors are one array.

Arrays whose elements are known are NumPy's while a program is read; all others are JAX's. A program is read operation
by operation, each on shapes of its own: NumPy has nothing to compile, which millions of numbers would not pay for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import FactorTooLarge
from lawful.form.operations.on_numpy import evaluate

from ..model.structure import Structure

TABLE = 1 << 20
FEW = 1 << 24  # numbers of one array of NumPy; more are left to what is compiled


class Budget(Exception):
    """A table would be over budget: how many entries, and which variables meet in it."""

    def __init__(self, entries: int, variables: Sequence[int]) -> None:
        super().__init__(entries)
        self.entries, self.variables = entries, tuple(variables)


@dataclass(frozen=True, eq=False)
class Table:
    """A value whose elements depend on finite variables.

    Attributes:
        array: by the states of the variables of each element (K_1, ..., K_r, *shape).
        scopes: the variables of each element, by number (*shape, r).
    """

    array: Any
    scopes: np.ndarray

    @property
    def arity(self) -> int:
        """Number of variables of each element."""
        return self.scopes.shape[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.scopes.shape[:-1]

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of states of each variable."""
        return tuple(self.array.shape[: self.arity])

    def take(self, ids: np.ndarray, lead: int) -> Table:
        """Rearrange the elements along the first `lead` axes, by their numbers in row-major order."""
        r, size = self.arity, math.prod(self.shape[:lead])
        behind = self.shape[lead:]
        array = self.array.reshape((*self.cardinalities, size, *behind))
        scopes = self.scopes.reshape((size, *behind, r))
        flat = ids.reshape(-1)
        if flat.size != size or np.any(flat != np.arange(size)):
            array, scopes = of(array).take(array, flat, axis=r, mode="clip"), scopes[flat]
        return Table(
            array.reshape((*self.cardinalities, *ids.shape, *behind)), scopes.reshape((*ids.shape, *behind, r))
        )

    def at(self, x: np.ndarray) -> np.ndarray:
        """Read the value at states of all variables by number (n,)."""
        size = math.prod(self.shape)
        states = tuple(x[self.scopes.reshape((size, self.arity))].T)
        flat = np.asarray(self.array).reshape((*self.cardinalities, size))
        return np.asarray(flat[(*states, np.arange(size))].reshape(self.shape))

    def map(self, function: Any) -> Table:
        """Apply a function of the elements."""
        return Table(function(self.array), self.scopes)

    def spread(self, shape: tuple[int, ...]) -> Table:
        """Repeat a value along further axes, so that it has a shape whose first axes are its own."""
        ones = (1,) * (len(shape) - len(self.shape))
        array = self.array.reshape((*self.cardinalities, *self.shape, *ones))
        scopes = self.scopes.reshape((*self.shape, *ones, self.arity))
        return Table(
            of(array).broadcast_to(array, (*self.cardinalities, *shape)), np.broadcast_to(scopes, (*shape, self.arity))
        )


@dataclass(frozen=True, eq=False)
class Terms:
    """A sum of tables that is not carried out.

    Attributes:
        shape: of the value.
        parts: the summands; their axes after those of the value are summed.
        source: a sum, and a function of values that makes this one of it, element by element; or None.
    """

    shape: tuple[int, ...]
    parts: tuple[Table, ...]
    source: tuple[Terms, Callable[[Terms], Terms]] | None = None

    @property
    def one(self) -> Table | None:
        """The table that it is, where nothing is left to sum."""
        return self.parts[0] if len(self.parts) == 1 and self.parts[0].shape == self.shape else None

    def single(self, budget: int = TABLE) -> Table:
        """Carry out the sum.

        Raises: Budget where too many variables meet.
        """
        if (one := self.one) is not None and math.prod(one.cardinalities) <= budget:
            return one
        each = [piece for part in self.parts for piece in _pieces(part, len(self.shape))]
        arrays, scopes = aligned(each, budget)
        total = arrays[0]
        for array in arrays[1:]:
            total = total + array
        cards = [max(array.shape[k] for array in arrays) for k in range(scopes.shape[-1])]
        return Table(of(total).broadcast_to(total, (*cards, *self.shape)), scopes)


def terms(table: Table) -> Terms:
    """See a table as a sum of one."""
    return Terms(table.shape, (table,))


def plain(array: Any) -> Table:
    """See an array as a table without variables."""
    return Table(array, np.zeros((*np.shape(array), 0), np.int64))


def _pieces(part: Table, lead: int) -> list[Table]:
    """Split a table along the axes that are summed."""
    shape, extra = part.shape[:lead], part.shape[lead:]
    if not extra:
        return [part]
    count = math.prod(extra)
    array = part.array.reshape((*part.cardinalities, *shape, count))
    scopes = part.scopes.reshape((*shape, count, part.arity))
    return [Table(array[..., k], scopes[..., k, :]) for k in range(count)]


def aligned(tables: Sequence[Table], budget: int = TABLE) -> tuple[list[Any], np.ndarray]:
    """Give tables of one shape the same variables: arrays that spread over each other, and the scopes of all.

    Columns that hold the same variables in all elements become one.

    Raises: Budget.
    """
    if len(tables) == 1 and math.prod(tables[0].cardinalities) <= budget:
        return [tables[0].array], tables[0].scopes
    columns: list[np.ndarray] = []
    cards: list[int] = []
    places: list[list[int]] = []
    for table in tables:
        own = []
        for k, card in enumerate(table.cardinalities):
            column = table.scopes[..., k]
            known = (j for j, other in enumerate(columns) if other is column or np.array_equal(other, column))
            place = next((j for j in known if j not in own), None)
            if place is None:
                place = len(columns)
                columns.append(column)
                cards.append(card)
            own.append(place)
        places.append(own)
    if math.prod(cards) > budget:
        raise Budget(math.prod(cards), sorted({int(c.reshape(-1)[0]) for c in columns if c.size}))
    arrays = []
    for table, own in zip(tables, places, strict=True):
        order = sorted(range(len(own)), key=own.__getitem__)
        array = table.array.transpose((*order, *range(table.arity, table.array.ndim)))
        sizes = [cards[j] if j in own else 1 for j in range(len(cards))]
        arrays.append(array.reshape((*sizes, *table.shape)))
    shape = tables[0].shape if tables else ()
    scopes = np.stack(columns, axis=-1) if columns else np.zeros((*shape, 0), np.int64)
    return arrays, scopes


def joint(table: Table, variables: np.ndarray, cards: Sequence[int]) -> Any:
    """Give a table by the joint states of some variables (S, *shape), the last one fastest."""
    grid = np.indices(tuple(cards)).reshape((len(cards), -1))
    size = math.prod(table.shape)
    place = np.searchsorted(variables, table.scopes.reshape((size, table.arity)))
    states = tuple(grid[place[:, k]].T for k in range(table.arity))
    at = np.ravel_multi_index((*states, np.arange(size)), (*table.cardinalities, size))
    found = of(table.array).take(table.array.reshape(-1), at.reshape(-1), mode="clip")
    return found.reshape((grid.shape[1], *table.shape))


def too_large(error: Budget, structure: Structure, what: str, budget: int) -> FactorTooLarge:
    """Make the error of a table over budget, with the names and the sizes of its variables."""
    shown = ", ".join(f"{structure.name_of(v)} ({structure.cardinalities[v]})" for v in error.variables[:6])
    shown += ", ..." if len(error.variables) > 6 else ""
    return FactorTooLarge(
        f"{what} would need a table of {error.entries} entries (budget {budget}): these variables meet in it, with so "
        f"many states each: {shown}. Fix: write the term as a sum of terms that read fewer variables each, sum a part "
        "of the variables by sites=[...] with given= for the others, or raise max_table=.",
        needed=error.entries, cap=budget,
    )  # fmt: skip


def elements(value: Any, ids: np.ndarray) -> Any:
    """Take elements of a value by their numbers."""
    if not isinstance(value, Terms):
        return of(value).take(value.reshape(-1), ids.reshape(-1), mode="clip").reshape(ids.shape)
    return Terms(tuple(ids.shape), tuple(part.take(ids, len(value.shape)) for part in value.parts))


def numbers_of(value: Any) -> np.ndarray:
    """Number the elements of a value: what only rearranges elements says by them where each comes from."""
    return np.arange(math.prod(value.shape)).reshape(value.shape)


def broadcast(array: Any, shape: tuple[int, ...]) -> Any:
    """Repeat an array over a shape."""
    return of(array).broadcast_to(array, shape)


def kept_where(which: Any, array: Any) -> Any:
    """Keep elements, and put zeros in the place of the others."""
    return of(which, array).where(which, array, np.zeros((), array.dtype))


def abstract(value: Any) -> Any:
    """Shape and type of a value."""
    if isinstance(value, Terms):
        return jax.ShapeDtypeStruct(value.shape, value.parts[0].array.dtype)
    return jax.ShapeDtypeStruct(jnp.shape(value), jnp.result_type(value))


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


def known(value: Any) -> Any:
    """See a number or an array as one of NumPy where its elements are known and few, else as one of JAX.

    >>> type(known(jnp.ones(3))).__name__, known(0.5).dtype == jnp.result_type(float)
    ('ndarray', True)
    """
    if isinstance(value, jax.core.Tracer) or np.size(value) > FEW:
        return jnp.asarray(value)
    return np.asarray(value, jnp.result_type(value))


def of(*arrays: Any) -> Any:
    """Give the module whose functions suit some arrays: NumPy, or `jax.numpy`."""
    return np if all(map(_is_plain, arrays)) else jnp


def taken(array: Any, index: Any) -> Any:
    """Index an array, by numbers that may be traced."""
    traced = any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(index))
    return (jnp.asarray(array) if traced else array)[index]


def applied(function: Callable[..., Sequence[Any]], operands: Sequence[Any]) -> tuple[Any, ...]:
    """Apply a function of arrays that gives a tuple; nothing is compiled where all its operands are known."""
    if all(map(_is_plain, operands)):
        return tuple(map(known, evaluate(function, operands)))
    return tuple(function(*map(jnp.asarray, operands)))


def _is_plain(array: Any) -> bool:
    return isinstance(array, np.ndarray | np.generic) and array.size <= FEW
