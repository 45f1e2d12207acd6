"""Tallies: bags of similar size whose counts exchange messages with their members at once.

Law: the messages are those of the table of all states of the members and of the count, at the price of the numerics of
counts: a member hears the log odds of its state, the variable of the count the law of the sum. Bags are padded to the
largest of their tally by members that are never in their state, which changes no other number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import counts
from ..counts.padding import alike, padded
from ..model.structure import Count, Structure
from .columns import Column, Index, box_of


@dataclass(frozen=True, eq=False)
class Tally:
    """Bags of one count that are padded to the size of the largest.

    Attributes:
        number: of the count among those of the structure.
        bags: the bags, by their numbers in the count (G,).
        taken: their members, by their places among those of the count (M,).
        columns: where the members (M,) stand, and where the variables of the counts (G,) do.
        cardinalities: numbers of states of a member, and of a count.
        size: number of members of the largest bag, B.
        places: for each place of a bag its member in the column, M for none (G, B); None where all bags are full.
        states: the state of each member that counts (M,).
        leaf: whether nothing else reads the counts, so that what they hear is asked for at the end alone.
    """

    number: int
    bags: np.ndarray
    taken: np.ndarray
    columns: tuple[Column, Column]
    cardinalities: tuple[int, int]
    size: int
    places: np.ndarray | None
    states: np.ndarray
    leaf: bool

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of the messages, behind the states."""
        return (len(self.states),), (len(self.bags),)

    def in_rows(self, values: Any, fill: Any) -> Any:
        """Arrange numbers of the members by bag (M,) -> (G, B)."""
        if self.places is None:
            return values.reshape((len(self.bags), self.size))
        return jnp.append(values, jnp.asarray(fill, values.dtype))[self.places]

    def in_column(self, rows: Any) -> Any:
        """Arrange numbers by bag as those of the members (G, B) -> (M,)."""
        if self.places is None:
            return rows.reshape(-1)
        flat = np.empty(len(self.states), np.int64)
        flat[self.places[self.places < len(flat)]] = np.flatnonzero(self.places.reshape(-1) < len(flat))
        return rows.reshape(-1)[flat]

    def scores(self, unary: Any) -> Any:
        """Give the scores of the counts (G, B + 1), from those of all variables with as many states (K, n)."""
        return self.columns[1].read(unary)[: self.size + 1].T

    def answers(self, odds: Any, known: Any) -> Any:
        """Give what binary members hear, as log odds of state 1 (M,), from theirs and scores of counts (G, B + 1)."""
        h = self.in_rows(self._turned(odds), -jnp.inf)
        return self._turned(self.in_column(counts.messages(h, known, accuracy=_accuracy(h))))

    def solved(self, odds: Any, known: Any) -> tuple[Any, Any]:
        """Give the same, and the log of the mean of the scores of the counts (G,): one program serves both."""
        h = self.in_rows(self._turned(odds), -jnp.inf)
        told, evidence = counts.solve(h, known, accuracy=_accuracy(h))
        return self._turned(self.in_column(told)), evidence

    def told(self, odds: Any) -> Any:
        """Give what counts hear of binary members of these log odds (K, G), as logs."""
        return self.law(self.in_rows(self._turned(odds), -jnp.inf), 1.0)

    def _turned(self, odds: Any) -> Any:
        """Change the sense of members that count when they are zero; twice leaves it."""
        return odds if self.states.all() else jnp.where(self.states.astype(bool), odds, -odds)

    def heard(self, sent: Sequence[Any], temperature: float | None) -> tuple[Any, Any]:
        """Give log odds of the members (G, B) and scores of the counts (G, B + 1), from what the variables send."""
        return self.in_rows(_log_odds(sent[0], self.states, temperature), -jnp.inf), sent[1][: self.size + 1].T

    def outgoing(self, sent: Sequence[Any], temperature: float | None, law: bool) -> tuple[Any, Any | None]:
        """Give what is sent to the members (K, M) and, where `law` asks for it, to the counts (K, G)."""
        h, g = self.heard(sent, temperature)
        if temperature is None:
            odds = counts.max_messages(h, g)
        else:
            odds = temperature * counts.messages(h / temperature, g / temperature, accuracy=_accuracy(h))
        own = np.arange(self.cardinalities[0])[:, None] == self.states
        flat = self.in_column(odds)
        told = jnp.where(own, jnp.minimum(flat, 0), jnp.minimum(-flat, 0))
        return told, self.law(h, temperature) if law else None

    def law(self, h: Any, temperature: float | None) -> Any:
        """Give what a count hears (K, G): the log law of the sum of the members, with its largest entry at zero."""
        if temperature is None:
            found = _best_sums(h)
        else:
            found = temperature * counts.count_law(h / temperature)
        found = found - jnp.max(found, axis=1, keepdims=True)
        fill = ((0, 0), (0, self.cardinalities[1] - self.size - 1))
        return jnp.pad(found, fill, constant_values=-jnp.inf).T

    def log_evidence(self, sent: Sequence[Any], temperature: float | None = 1.0) -> Any:
        """Give the log of the mean of the scores of the counts, under the members as they are heard (G,).

        At the temperature None it is the largest score of an assignment, less that of the best states of the members.
        """
        h, g = self.heard(sent, temperature)
        if temperature is None:
            free = jnp.sum(jnp.where(jnp.isfinite(h), jnp.maximum(h, 0), 0), axis=1)
            return jnp.max(_best_sums(h) + g, axis=1) - free
        return temperature * counts.log_evidence(h / temperature, g / temperature, accuracy=_accuracy(h))


def tallies_of(structure: Structure) -> tuple[Tally, ...]:
    """Sort the bags of a structure by size, so that little is padded."""
    found = []
    for number, count in enumerate(structure.counted):
        for bags in alike(count.sizes):
            found.append(_tally(structure, number, count, bags, not structure.read[count.totals[bags]].any()))
    return tuple(found)


def _tally(structure: Structure, number: int, count: Count, bags: np.ndarray, leaf: bool) -> Tally:
    taken, places = padded(count.starts, bags)
    members, totals = count.members[taken], count.totals[bags]
    cards = structure.cardinalities
    columns = _column(structure, members), _column(structure, totals)
    kinds = (int(cards[members[0]]) if len(members) else 2), int(cards[totals[0]])
    filled = places if places.size > len(taken) else None
    return Tally(number, bags, taken, columns, kinds, places.shape[1], filled, count.states[taken], leaf)


@dataclass(frozen=True, eq=False)
class _Flat:
    """A box as a row of variables."""

    box: Any

    def read(self, values: Any) -> Any:
        return self.box.read(values).reshape((len(values), -1))

    def add(self, values: Any, given: Any) -> Any:
        return self.box.add(values, given.reshape((len(given), *self.box.sizes)))


def _column(structure: Structure, numbers: np.ndarray) -> Any:
    """Find variables as a box, or by their numbers."""
    if not len(numbers):
        return Index(structure.counts.get(2, 0), numbers)
    card = int(structure.cardinalities[numbers[0]])
    box = box_of(structure, numbers)
    return Index(structure.counts[card], structure.rows[numbers]) if box is None else _Flat(box)


def _log_odds(sent: Any, states: np.ndarray, temperature: float | None) -> Any:
    """Give log odds of the states that count (M,); of a variable without any state left they are zero."""
    card = len(sent)
    if card == 2:
        one, zero = (sent[1], sent[0]) if states.all() else _two(sent, states)
    else:
        own = np.arange(card)[:, None] == states
        one = jnp.max(jnp.where(own, sent, -jnp.inf), axis=0)
        rest = jnp.where(own, -jnp.inf, sent)
        zero = _soft_max(rest, temperature)
    no_one, no_zero = jnp.isneginf(one), jnp.isneginf(zero)
    between = jnp.where(no_one, 0.0, one) - jnp.where(no_zero, 0.0, zero)
    known = jnp.where(no_one & no_zero, 0.0, jnp.where(no_one, -jnp.inf, jnp.inf))
    return jnp.where(no_one | no_zero, known.astype(sent.dtype), between)


def _two(sent: Any, states: np.ndarray) -> tuple[Any, Any]:
    own = states.astype(bool)
    return jnp.where(own, sent[1], sent[0]), jnp.where(own, sent[0], sent[1])


def _soft_max(values: Any, temperature: float | None) -> Any:
    """Log of the sum of exponentials over the first axis, at a temperature; None for the largest."""
    top = jnp.max(values, axis=0)
    if temperature is None:
        return top
    shift = jax.lax.stop_gradient(jnp.where(jnp.isneginf(top), 0.0, top))
    mass = jnp.sum(jnp.exp((values - shift) / temperature), axis=0)
    return jnp.where(mass > 0, shift + temperature * jnp.log(jnp.where(mass > 0, mass, 1.0)), -jnp.inf)


def _best_sums(h: Any) -> Any:
    """Give the largest score of members with each count (G, B + 1): of sorted log odds the running sums."""
    down = -jnp.sort(-h, axis=1)
    ones = jnp.sum(h == jnp.inf, axis=1, keepdims=True)
    free = jnp.sum(jnp.isfinite(h), axis=1, keepdims=True)
    sums = jnp.cumsum(jnp.where(jnp.isfinite(down), down, 0), axis=1)
    sums = jnp.concatenate([jnp.zeros((len(h), 1), h.dtype), sums], axis=1)
    s = jnp.arange(h.shape[1] + 1)[None]
    return jnp.where((s >= ones) & (s <= ones + free), sums, -jnp.inf)


def _accuracy(h: Any) -> float:
    """Approximate no more than rounding does."""
    return 1e-5 if h.dtype == jnp.float32 else 1e-12
