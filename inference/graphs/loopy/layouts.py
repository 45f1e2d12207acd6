"""Layouts: where the messages of pairs of binary variables are kept while they are sent, one number a message.

Law: a layout holds one number for each factor and each of its variables, and `ends` gives them back as they came. The
sum that it adds at the variables, and the answer that it sends for each message, are those of the list of factors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np

from ..model.cliques import Cliques, cliques_in
from .columns import Column, Index
from .messages import Net

type Send = Callable[[Any, Any, Any], Any]  # (weights, what the sender has heard, what it heard from here) -> message


@runtime_checkable
class Layout(Protocol):
    """Where the messages of some factors are kept."""

    def start(self, dtype: Any) -> tuple[Any, ...]:
        """Give messages that say nothing."""

    def kept(self, to_first: Any, to_second: Any) -> tuple[Any, ...]:
        """Arrange messages to the first and to the second variables (1, *shape)."""

    def ends(self, messages: tuple[Any, ...]) -> tuple[Any, Any]:
        """Give them back."""

    def weights(self, to_first: Any, to_second: Any, nothing: float) -> tuple[Any, ...]:
        """Arrange numbers of the factors, or one for all; `nothing` is that of a factor which says nothing."""

    def add(self, values: Any, messages: tuple[Any, ...]) -> Any:
        """Add what variables hear (1, n)."""

    def sent(self, send: Send, weights: tuple[Any, ...], values: Any, messages: tuple[Any, ...]) -> tuple[Any, ...]:
        """Answer all messages, from values of the variables (1, n)."""


@dataclass(frozen=True)
class Ends:
    """Messages as two lists, to the first variables of the factors and to the second ones.

    Attributes:
        columns: where these variables stand.
        shape: of each list.
    """

    columns: tuple[Column, ...]
    shape: tuple[int, ...]

    def start(self, dtype: Any) -> tuple[Any, ...]:
        """Give messages that say nothing."""
        return (jnp.zeros((1, *self.shape), dtype),) * 2

    def kept(self, to_first: Any, to_second: Any) -> tuple[Any, ...]:
        """Leave them as they are."""
        return to_first, to_second

    def ends(self, messages: tuple[Any, ...]) -> tuple[Any, Any]:
        """Leave them as they are."""
        first, second = messages
        return first, second

    def weights(self, to_first: Any, to_second: Any, nothing: float) -> tuple[Any, ...]:
        """Leave them as they are."""
        return to_first, to_second

    def add(self, values: Any, messages: tuple[Any, ...]) -> Any:
        """Add what variables hear."""
        for column, message in zip(self.columns, messages, strict=True):
            values = column.add(values, message)
        return values

    def sent(self, send: Send, weights: tuple[Any, ...], values: Any, messages: tuple[Any, ...]) -> tuple[Any, ...]:
        """Let the second variables answer to the first ones, and these to the second."""
        first, second = (column.read(values) for column in self.columns)
        return send(weights[0], second, messages[1]), send(weights[1], first, messages[0])


@dataclass(frozen=True)
class Squares:
    """Messages of cliques as squares (1, B, B, S), to a member from a member."""

    cliques: Cliques

    def start(self, dtype: Any) -> tuple[Any, ...]:
        """Give messages that say nothing."""
        return (jnp.zeros((1, *self.cliques.shape), dtype),)

    def kept(self, to_first: Any, to_second: Any) -> tuple[Any, ...]:
        """Put them into squares."""
        return (self.cliques.squares(to_first, to_second),)

    def ends(self, messages: tuple[Any, ...]) -> tuple[Any, Any]:
        """Read them off the squares."""
        return self.cliques.ends(messages[0])

    def weights(self, to_first: Any, to_second: Any, nothing: float) -> tuple[Any, ...]:
        """Put numbers into squares, `nothing` where no factor is; one for all serves both ends of a factor."""
        whole = to_first.shape[1] == len(self.cliques.to_first)
        found = self.cliques.squares(to_first, to_second) if whole else to_first.reshape((1, 1, 1, 1))
        return (jnp.where(self.cliques.joined, found, nothing),)

    def add(self, values: Any, messages: tuple[Any, ...]) -> Any:
        """Add what variables hear."""
        return self.cliques.add(values, messages[0])

    def sent(self, send: Send, weights: tuple[Any, ...], values: Any, messages: tuple[Any, ...]) -> tuple[Any, ...]:
        """Let members answer: what goes to i from j reads what went to j from i."""
        senders = self.cliques.read(values)[:, None]
        return (send(weights[0], senders, jnp.swapaxes(messages[0], 1, 2)),)


@dataclass(frozen=True, eq=False)
class Piece:
    """Factors of a block whose messages are kept in one layout.

    Attributes:
        block: number of the block.
        spans: the factors, from one to before another in the order of the block; None for all of them.
        groups: the number of the group that each span is.
        layout: the layout.
    """

    block: int
    spans: tuple[tuple[int, int], ...] | None
    groups: tuple[int, ...]
    layout: Layout

    def of(self, values: Any) -> Any:
        """Take what belongs to the factors, of numbers of all the block's (K, *shape)."""
        if self.spans is None:
            return values
        parts = [values[..., start:stop] for start, stop in self.spans]
        return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)


def pieces_of(net: Net) -> tuple[Piece, ...]:
    """Cut the blocks of a net of binary pairs: cliques are pieces of their own, and what else a block has is one."""
    if net.source is None:
        return _pieces_of(net)
    return tuple(_at(piece, net) for piece in _pieces_of(net.source))


def _at(piece: Piece, net: Net) -> Piece:
    """Take the numbers of variables from a net that was given them."""
    columns = net.blocks[piece.block].columns
    if not isinstance(piece.layout, Ends) or not all(isinstance(column, Index) for column in columns):
        return piece
    cut = tuple(replace(column, rows=piece.of(column.rows)) for column in columns if isinstance(column, Index))
    return replace(piece, layout=replace(piece.layout, columns=cut))


@lru_cache(maxsize=128)
def _pieces_of(net: Net) -> tuple[Piece, ...]:
    found = []
    for number, block in enumerate(net.blocks):
        columns, groups = block.columns, tuple(part.group for part in block.parts)
        if not all(isinstance(column, Index) for column in columns):
            found.append(Piece(number, None, groups, Ends(columns, block.shape)))
            continue
        ends = list(accumulate(part.size for part in block.parts))
        rest = []
        for part, end in zip(block.parts, ends, strict=True):
            cliques, span = cliques_in(net.structure)[part.group], (end - part.size, end)
            if cliques is None:
                rest.append((span, part.group))
            else:
                found.append(Piece(number, (span,), (part.group,), Squares(cliques)))
        if rest:
            spans, groups = zip(*rest, strict=True)
            own = np.concatenate([np.arange(*span) for span in spans])
            cut = tuple(Index(column.count, column.rows[own]) for column in columns if isinstance(column, Index))
            found.append(Piece(number, spans, groups, Ends(cut, (len(own),))))
    return tuple(found)


def joined(pieces: tuple[Piece, ...], values: list[Any]) -> dict[int, Any]:
    """Put numbers of the factors of all pieces (K, *shape) back together, by block."""
    whole: dict[int, Any] = {}
    spread: dict[int, list[tuple[int, Any]]] = {}
    for piece, own in zip(pieces, values, strict=True):
        if piece.spans is None:
            whole[piece.block] = own
            continue
        at = 0
        for start, stop in piece.spans:
            spread.setdefault(piece.block, []).append((start, own[..., at : at + stop - start]))
            at += stop - start
    for number, parts in spread.items():
        ordered = [part for _, part in sorted(parts, key=lambda part: part[0])]
        whole[number] = ordered[0] if len(ordered) == 1 else jnp.concatenate(ordered, axis=-1)
    return whole
