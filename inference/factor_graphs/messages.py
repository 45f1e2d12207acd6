"""Messages between factors and variables, for all factors of a group at once, and what they add up to.

Law: a message is a function of the states of its variable up to a constant, kept with its largest entry at zero. What a
variable sends to a factor leaves out what that factor sent. A state that is excluded stays -inf, and no operation makes
NaN of it: sums keep the finite part and the number of exclusions apart.

Arrays have the states first and the factors last, (K, *shape): the work is elementwise over factors.

Reference: Kschischang, Frey and Loeliger (2001), Factor graphs and the sum-product algorithm; Wiegerinck and Heskes
(2003), Fractional belief propagation, for the counting numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .columns import Column, class_rows, columns_of
from .graph import Potentials
from .structure import Structure

type Messages = tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, eq=False)
class Net:
    """Which groups exchange messages with which variables.

    Attributes:
        structure: of the graph.
        groups: numbers of the groups with two or more variables a factor.
        columns: for each, where its variables stand.
        shapes: for each, the shape of its factors.
        singles: numbers of the groups with one variable a factor, which join its scores, and their columns.
        cardinalities: numbers of states, with the number of variables that have as many.
    """

    structure: Structure
    groups: tuple[int, ...]
    columns: tuple[tuple[Column, ...], ...]
    shapes: tuple[tuple[int, ...], ...]
    singles: tuple[tuple[int, Column], ...]
    cardinalities: tuple[tuple[int, int], ...]

    def card(self, k: int, axis: int) -> int:
        """Number of states on an axis of a group."""
        return self.structure.groups[self.groups[k]].cardinalities[axis]


@lru_cache(maxsize=128)
def net_of(structure: Structure) -> Net:
    """Find the columns of a structure, once."""
    numbers = tuple(k for k, g in enumerate(structure.groups) if g.arity > 1 and g.size)
    found = [columns_of(structure, structure.groups[k]) for k in numbers]
    singles = tuple(
        (k, columns_of(structure, g)[0][0]) for k, g in enumerate(structure.groups) if g.arity == 1 and g.size
    )
    _, counts = class_rows(structure)
    columns, shapes = tuple(c for c, _ in found), tuple(s for _, s in found)
    return Net(structure, numbers, columns, shapes, singles, tuple(sorted(counts.items())))


class Scores(NamedTuple):
    """The potentials as messages need them.

    Attributes:
        unary: by number of states, (K, n).
        tables: for each group, (K_1, ..., K_r, *shape), or with axes of one where all factors share a table.
        counting: for each group, its counting numbers, an array that spreads over `shape`.
        constant: the factors without variables.
    """

    unary: dict[int, Any]
    tables: tuple[Any, ...]
    counting: tuple[Any, ...]
    constant: Any


def scores_of(net: Net, potentials: Potentials, counting: Sequence[Any]) -> Scores:
    """Arrange potentials; tables are divided by the counting numbers."""
    dtype = jnp.result_type(float, *potentials.unary, *potentials.tables)
    dtype = jnp.result_type(*potentials.unary, *potentials.tables) if potentials.unary else dtype
    parts: dict[int, list[Any]] = {card: [] for card, _ in net.cardinalities}
    for family, scores in zip(net.structure.families, potentials.unary, strict=True):
        if family.size:
            parts[family.cardinality].append(jnp.asarray(scores, dtype).T)
    unary = {card: jnp.concatenate(found, axis=1) for card, found in parts.items()}
    for number, column in net.singles:
        group = net.structure.groups[number]
        card = group.cardinalities[0]
        shape = column.sizes if hasattr(column, "sizes") else (group.size,)
        spread = jnp.broadcast_to(potentials.tables[number], (group.size, card)).T.reshape((card, *shape))
        unary[card] = column.add(unary[card], spread)
    tables = []
    for number, shape, c in zip(net.groups, net.shapes, counting, strict=True):
        table = jnp.moveaxis(jnp.asarray(potentials.tables[number], dtype), 0, -1)
        cards = table.shape[:-1]
        own = shape if table.shape[-1] == net.structure.groups[number].size else (1,) * len(shape)
        tables.append(table.reshape((*cards, *own)) / c)
    constants = [jnp.sum(potentials.tables[k]) for k, g in enumerate(net.structure.groups) if not g.arity]
    return Scores(unary, tuple(tables), tuple(counting), sum(constants, jnp.zeros((), dtype)))


def start(net: Net, dtype: Any) -> Messages:
    """Give messages that say nothing."""
    return tuple(
        tuple(jnp.zeros((net.card(k, axis), *shape), dtype) for axis in range(len(columns)))
        for k, (columns, shape) in enumerate(zip(net.columns, net.shapes, strict=True))
    )


class Totals(NamedTuple):
    """Sums at the variables: the finite part and, where states can be excluded, the number of exclusions (K, n)."""

    finite: dict[int, Any]
    excluded: dict[int, Any] | None

    def scores(self, card: int) -> Any:
        """Give the sums, -inf for a state that is excluded (K, n)."""
        if self.excluded is None:
            return self.finite[card]
        return jnp.where(self.excluded[card] > 0, -jnp.inf, self.finite[card])


def totals_of(net: Net, scores: Scores, messages: Messages, hard: bool) -> Totals:
    """Add up scores and messages at each variable, each message times the counting number of its factor."""
    finite = {card: _finite(s) if hard else s for card, s in scores.unary.items()}
    excluded = {card: jnp.isneginf(s).astype(jnp.int32) for card, s in scores.unary.items()} if hard else None
    for k, columns in enumerate(net.columns):
        for axis, column in enumerate(columns):
            card, message = net.card(k, axis), messages[k][axis]
            weighed = scores.counting[k] * (_finite(message) if hard else message)
            finite[card] = column.add(finite[card], weighed)
            if excluded is not None:
                excluded[card] = column.add(excluded[card], jnp.isneginf(message).astype(jnp.int32))
    return Totals(finite, excluded)


def incoming(net: Net, totals: Totals, messages: Messages, k: int) -> tuple[Any, ...]:
    """Give what the variables of a group's factors send to them, one array for each axis (K, *shape)."""
    found = []
    for axis, column in enumerate(net.columns[k]):
        card, own = net.card(k, axis), messages[k][axis]
        if totals.excluded is None:
            found.append(column.read(totals.finite[card]) - own)
            continue
        others = column.read(totals.excluded[card]) - jnp.isneginf(own)
        found.append(jnp.where(others > 0, -jnp.inf, column.read(totals.finite[card]) - _finite(own)))
    return tuple(found)


def outgoing(table: Any, sent: Sequence[Any], temperature: Any) -> tuple[Any, ...]:
    """Give what factors send to each of their variables, with the largest entry at zero."""
    arity = len(sent)
    found = []
    for axis in range(arity):
        total = table
        for other, message in enumerate(sent):
            if other != axis:
                total = total + _along(message, other, arity)
        found.append(normalised(reduced(total, tuple(j for j in range(arity) if j != axis), temperature)))
    return tuple(found)


def joint(table: Any, sent: Sequence[Any]) -> Any:
    """Add what the variables send to a table: log beliefs of the factors up to a constant."""
    for axis, message in enumerate(sent):
        table = table + _along(message, axis, len(sent))
    return table


def _along(message: Any, axis: int, arity: int) -> Any:
    """Put the states of a message (K, *shape) on an axis of a table."""
    states = [message.shape[0] if k == axis else 1 for k in range(arity)]
    return message.reshape((*states, *message.shape[1:]))


def reduced(total: Any, axes: tuple[int, ...], temperature: Any) -> Any:
    """Log of a sum of exponentials along axes, or the largest entry where the temperature is None (maximum)."""
    top = jnp.max(total, axis=axes, keepdims=True)
    if temperature is None:
        return jnp.squeeze(top, axes)
    shift = jax.lax.stop_gradient(jnp.where(jnp.isneginf(top), 0.0, top))
    mass = jnp.sum(jnp.exp((total - shift) / temperature), axis=axes)
    none = mass == 0
    return jnp.where(none, -jnp.inf, jnp.squeeze(shift, axes) + temperature * jnp.log(jnp.where(none, 1.0, mass)))


def normalised(message: Any) -> Any:
    """Put the largest entry at zero; a message without any state stays as it is."""
    top = jnp.max(message, axis=0, keepdims=True)
    return message - jnp.where(jnp.isneginf(top), 0.0, top)


def _finite(values: Any) -> Any:
    return jnp.where(jnp.isneginf(values), 0.0, values)
