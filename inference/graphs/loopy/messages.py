"""Messages between factors and variables, for all factors of a group at once, and what they add up to.

Law: a message is a function of the states of its variable up to a constant, kept with its largest entry at zero. What a
variable sends to a factor leaves out what that factor sent. A state that is excluded stays -inf, and no operation makes
NaN of it: sums keep the finite part and the number of exclusions apart.

Arrays have the states first and the factors last, (K, *shape): the work is elementwise over factors.

Reference: Kschischang, Frey and Loeliger (2001), Factor graphs and the sum-product algorithm; Wiegerinck and Heskes
(2003), Fractional belief propagation, for the counting numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..model.potentials import Potentials
from ..model.structure import Structure
from .columns import Column, Index, boxes_of
from .tallies import Tally, tallies_of

BOXED = 8  # factors of a group that make slices worth a block of its own
JOINED = 1 << 12  # factors of a block; in larger ones the copy costs more than the operations that it saves

type Messages = tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Part:
    """Factors of one group in a block: its number, its size, and the axes of its tables in the block's order."""

    group: int
    size: int
    order: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Block:
    """Factors that are updated at once: a group whose variables form boxes, or all others with as many states.

    Attributes:
        cardinalities: numbers of states on the axes.
        columns: where the variables on each axis stand.
        shape: in which the factors are kept.
        parts: the groups that they come from, one behind the other.
    """

    cardinalities: tuple[int, ...]
    columns: tuple[Column, ...]
    shape: tuple[int, ...]
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        """Number of factors."""
        return sum(part.size for part in self.parts)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the messages on each axis, behind the states."""
        return (self.shape,) * len(self.columns)


@dataclass(frozen=True, eq=False)
class Net:
    """Which factors exchange messages with which variables.

    Attributes:
        structure: of the graph.
        blocks: the factors of two or more variables.
        tallies: the counts; messages of them stand behind those of the blocks.
        singles: the groups of one variable a factor, which join its scores: number, variables, number of states.
        cardinalities: numbers of states, with the number of variables that have as many.
        source: the net whose places were given anew, or None; see `at`.
    """

    structure: Structure
    blocks: tuple[Block, ...]
    tallies: tuple[Tally, ...]
    singles: tuple[tuple[int, Index, int], ...]
    cardinalities: tuple[tuple[int, int], ...]
    source: Net | None = None

    @property
    def senders(self) -> tuple[Block | Tally, ...]:
        """All that exchange messages with variables."""
        return (*self.blocks, *self.tallies)

    def parted[Of](self, each: tuple[Of, ...]) -> tuple[tuple[Of, ...], tuple[Of, ...]]:
        """Part what each sender has: of the blocks, and of the tallies."""
        return each[: len(self.blocks)], each[len(self.blocks) :]

    @cached_property
    def joined(self) -> dict[int, list[tuple[int, int]]]:
        """Axes of small blocks without boxes, as block and axis, by number of states: read and added up at once."""
        found: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for k, block in enumerate(self.blocks):
            for axis, (column, card) in enumerate(zip(block.columns, block.cardinalities, strict=True)):
                if isinstance(column, Index) and block.size <= JOINED:
                    found[card].append((k, axis))
        return {card: ends for card, ends in found.items() if len(ends) > 1}

    @cached_property
    def places(self) -> tuple[Any, ...]:
        """Numbers of the variables on the axes of the blocks; None where these are boxes, which need none."""
        return tuple(
            column.rows.astype(np.int32 if card * column.count < 1 << 31 else np.int64)
            if isinstance(column, Index)
            else None
            for block in self.blocks
            for column, card in zip(block.columns, block.cardinalities, strict=True)
        )

    def at(self, places: Sequence[Any]) -> Net:
        """Give the same with these numbers of variables in place of its own, as a compiled run is given them."""
        left = iter(places)

        def moved(column: Column) -> Column:
            rows = next(left)
            return replace(column, rows=rows) if isinstance(column, Index) else column

        blocks = tuple(replace(block, columns=tuple(map(moved, block.columns))) for block in self.blocks)
        return replace(self, blocks=blocks, source=self)

    def by_block(self, numbers: Sequence[Any]) -> tuple[Any, ...]:
        """Arrange numbers of the factors, for each group one or an array (G,), by block."""
        found = []
        for block in self.blocks:
            own = [numbers[part.group] for part in block.parts]
            if all(np.ndim(x) == 0 for x in own) and len({float(x) for x in own}) == 1:
                found.append(own[0])
                continue
            spread = [jnp.broadcast_to(x, (part.size,)) for x, part in zip(own, block.parts, strict=True)]
            found.append(jnp.concatenate(spread).reshape(block.shape))
        return tuple(found)


@lru_cache(maxsize=128)
def net_of(structure: Structure) -> Net:
    """Find the blocks of a structure, once."""
    rows, counts = structure.rows, structure.counts
    blocks: list[Block] = []
    others: dict[tuple[int, ...], list[Part]] = defaultdict(list)
    for number, group in enumerate(structure.groups):
        if group.arity < 2 or not group.size:
            continue
        boxes = boxes_of(structure, group) if group.size >= BOXED or len(structure.groups) == 1 else None
        if boxes is not None:
            part = Part(number, group.size, tuple(range(group.arity)))
            blocks.append(Block(group.cardinalities, boxes, boxes[0].sizes, (part,)))
            continue
        order = tuple(int(k) for k in np.argsort(group.cardinalities, kind="stable"))
        others[tuple(group.cardinalities[k] for k in order)].append(Part(number, group.size, order))
    for cards, parts in others.items():
        scopes = np.concatenate([structure.groups[part.group].scopes[:, part.order] for part in parts])
        columns = tuple(Index(counts[card], rows[scopes[:, axis]]) for axis, card in enumerate(cards))
        blocks.append(Block(cards, columns, (len(scopes),), tuple(parts)))
    singles = tuple(
        (k, Index(counts[g.cardinalities[0]], rows[g.scopes[:, 0]]), g.cardinalities[0])
        for k, g in enumerate(structure.groups)
        if g.arity == 1 and g.size
    )
    return Net(structure, tuple(blocks), tallies_of(structure), singles, tuple(counts.items()))


class Scores(NamedTuple):
    """The potentials as messages need them.

    Attributes:
        unary: by number of states, (K, n).
        tables: for each block, (K_1, ..., K_r, *shape), or with axes of one where all its factors share a table.
        counting: for each block, its counting numbers, a number or an array of its shape; for each tally one.
        constant: the factors without variables.
    """

    unary: dict[int, Any]
    tables: tuple[Any, ...]
    counting: tuple[Any, ...]
    constant: Any


def scores_of(net: Net, potentials: Potentials, counting: Sequence[Any]) -> Scores:
    """Arrange potentials; tables are divided by the counting numbers, which are given by block."""
    arrays = (*potentials.unary, *potentials.tables)
    dtype = jnp.result_type(*arrays) if arrays else jnp.result_type(float)
    parts: dict[int, list[Any]] = {card: [] for card, _ in net.cardinalities}
    for family, scores in zip(net.structure.families, potentials.unary, strict=True):
        if family.size:
            parts[family.cardinality].append(jnp.asarray(scores, dtype).T)
    unary = {card: jnp.concatenate(found, axis=1) for card, found in parts.items()}
    for number, column, card in net.singles:
        unary[card] = column.add(unary[card], jnp.broadcast_to(potentials.tables[number], (len(column.rows), card)).T)
    tables = []
    for block, numbers in zip(net.blocks, counting, strict=True):
        own = [_last(potentials.tables[part.group], part.order) for part in block.parts]
        if len(own) == 1 and own[0].shape[-1] == 1:
            table = own[0].reshape((*block.cardinalities, *(1,) * len(block.shape)))
        else:
            spread = [
                jnp.broadcast_to(t, (*block.cardinalities, part.size)) for t, part in zip(own, block.parts, strict=True)
            ]
            table = jnp.concatenate(spread, axis=-1).reshape((*block.cardinalities, *block.shape))
        table = jnp.asarray(table, dtype)
        # An exclusion stays one, and has no derivative by the counting number.
        tables.append(jnp.where(jnp.isneginf(table), table, _finite(table) / numbers))
    constants = [jnp.sum(potentials.tables[k]) for k, g in enumerate(net.structure.groups) if not g.arity]
    ones = (1.0,) * len(net.tallies)
    return Scores(unary, tuple(tables), (*counting, *ones), sum(constants, jnp.zeros((), dtype)))


def _last(tables: Any, order: Sequence[int]) -> Any:
    """Put the factors last (G, K_1, ...) -> (..., G), the axes of the tables in an order."""
    return jnp.transpose(tables, (*(k + 1 for k in order), 0))


def by_group(net: Net, found: Sequence[Any]) -> dict[int, Any]:
    """Give arrays of the blocks (K_1, ..., K_r, *shape) by the number of the group, (G, K_1, ..., K_r)."""
    groups = {}
    for block, values in zip(net.blocks, found, strict=True):
        flat = jnp.broadcast_to(values, (*block.cardinalities, *block.shape)).reshape(
            (*block.cardinalities, block.size)
        )
        start = 0
        for part in block.parts:
            back = np.argsort(part.order)
            own = flat[..., start : start + part.size]
            groups[part.group] = jnp.transpose(own, (len(back), *(int(k) for k in back)))
            start += part.size
    return groups


def start(net: Net, dtype: Any) -> Messages:
    """Give messages that say nothing."""
    return tuple(
        tuple(jnp.zeros((card, *shape), dtype) for card, shape in zip(s.cardinalities, s.shapes, strict=True))
        for s in net.senders
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

    def add(column: Column, card: int, message: Any, counting: Any) -> None:
        finite[card] = column.add(finite[card], counting * (_finite(message) if hard else message))
        if excluded is not None:
            excluded[card] = column.add(excluded[card], jnp.isneginf(message).astype(jnp.int32))

    for card, ends in net.joined.items():
        counting = [jnp.broadcast_to(scores.counting[k], messages[k][axis].shape[1:]) for k, axis in ends]
        add(_column(net, card, ends), card, _joined(messages, ends), jnp.concatenate(counting))
    for k, sender in enumerate(net.senders):
        for axis, (column, card) in enumerate(zip(sender.columns, sender.cardinalities, strict=True)):
            if messages[k][axis].size and (k, axis) not in net.joined.get(card, ()):
                add(column, card, messages[k][axis], scores.counting[k])
    return Totals(finite, excluded)


def incoming(net: Net, totals: Totals, messages: Messages) -> list[tuple[Any, ...]]:
    """Give what variables send to the factors of each block and tally, an array for each axis (K, *shape)."""
    found: dict[tuple[int, int], Any] = {}
    for card, ends in net.joined.items():
        others = _others(_column(net, card, ends), card, totals, _joined(messages, ends))
        sizes = [messages[k][axis].shape[1] for k, axis in ends]
        found |= zip(ends, jnp.split(others, np.cumsum(sizes)[:-1], axis=1), strict=True)
    for k, sender in enumerate(net.senders):
        for axis, (column, card) in enumerate(zip(sender.columns, sender.cardinalities, strict=True)):
            if (k, axis) not in found:
                found[k, axis] = _others(column, card, totals, messages[k][axis])
    return [tuple(found[k, axis] for axis in range(len(own))) for k, own in enumerate(messages)]


def _others(column: Column, card: int, totals: Totals, own: Any) -> Any:
    """Give the sums at the variables of a column without the messages of its own factors."""
    if not own.size:
        return own
    if totals.excluded is None:
        return column.read(totals.finite[card]) - own
    others = column.read(totals.excluded[card]) - jnp.isneginf(own)
    return jnp.where(others > 0, -jnp.inf, column.read(totals.finite[card]) - _finite(own))


def _column(net: Net, card: int, ends: Sequence[tuple[int, int]]) -> Index:
    columns = [net.blocks[k].columns[axis] for k, axis in ends]
    rows = [column.rows for column in columns if isinstance(column, Index)]
    return Index(net.structure.counts[card], jnp.concatenate(rows))


def _joined(messages: Messages, ends: Sequence[tuple[int, int]]) -> Any:
    return jnp.concatenate([messages[k][axis] for k, axis in ends], axis=1)


def _finite(values: Any) -> Any:
    return jnp.where(jnp.isneginf(values), 0.0, values)
