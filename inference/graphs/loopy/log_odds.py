"""Log-odds messages: belief propagation on binary variables in pairs and in bags, one number a message.

Law: a message is log m(1) - log m(0), so nothing is normalised; with finite scores no message is infinite, and the
update is that of the general form. An exponential and a logarithm serve a message.

Where each table has one score for equal states and one for unequal ones, a message is 2 atanh(c tanh(h/2)), with h the
log odds that the sender has from elsewhere and c = tanh of a quarter of the log odds ratio of the table. Where c is
small as well ("weak"), h is never formed: tanh(h/2) is tanh of half the sender's log odds less tanh of half the message
that it had from here, by the rule for differences, and for numbers that small a short series is as exact as rounding.
One hyperbolic tangent serves all messages of a variable, and a message takes additions, products and one division.

A log-odds beyond 80 acts as 80 would: the difference is below the rounding of the sum while the entries of a table lie
within a factor e**40 of each other, which is what `RANGE` asks for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from .exchange import Logs
from .layouts import Layout, joined, pieces_of
from .messages import Messages, Net, Scores

LIMIT = 80.0
RANGE = 40.0
WEAK = 0.25  # largest c of a weak table
REACH = 2 * math.atanh(WEAK)  # largest message that one sends, and difference of its scores
TERMS = {np.dtype(np.float32): (3, 6), np.dtype(np.float64): (6, 12)}  # of tanh and of atanh at WEAK, to rounding


@dataclass(frozen=True)
class LogOdds:
    """How binary variables in pairs exchange messages, and those in bags with counts that nothing else reads.

    Attributes:
        tables: what is known of the tables of each piece (`layouts.pieces_of`): "any", or "weak" for one score of equal
            states and one of unequal ones that are nearly the same.
    """

    tables: tuple[str, ...] = ()

    @property
    def hard(self) -> bool:
        """Every state is possible."""
        return False

    def start(self, net: Net, dtype: Any) -> Messages:
        """Give messages that say nothing."""
        counts = ((jnp.zeros((1, len(tally.states)), dtype),) for tally in net.tallies)
        return (*(piece.layout.start(dtype) for piece in pieces_of(net)), *counts)

    def prepared(self, net: Net, scores: Scores) -> tuple[Any, tuple[Any, ...]]:
        """Give log-odds of the variables (1, n), and for each piece what its messages need of its tables."""
        both = scores.unary[2]
        found = []
        for kind, piece in zip(self.tables, pieces_of(net), strict=True):
            table = scores.tables[piece.block]
            if len(piece.groups) == 1 and net.structure.groups[piece.groups[0]].shared:
                start = piece.spans[0][0] if piece.spans is not None and table.shape[2] > 1 else 0
                table = table[:, :, start : start + 1]
            else:
                table = piece.of(table)
            found.append(_WEIGHTS[kind](piece.layout, table))
        return both[1:] - both[:1], tuple(found)

    def sweep(self, net: Net, scores: Scores, prepared: Any, messages: Messages) -> Messages:
        """Send all messages once, undamped."""
        total, weights = prepared
        pairs, counts = _parted(net, messages)
        for piece, own in zip(pieces_of(net), pairs, strict=True):
            total = piece.layout.add(total, own)
        for tally, (told,) in zip(net.tallies, counts, strict=True):
            total = tally.columns[0].add(total, told)
        found = self.answers(net, weights, total, pairs)
        for tally, (told,) in zip(net.tallies, counts, strict=True):
            held = tally.scores(scores.unary[tally.cardinalities[1]])
            found.append((tally.answers((tally.columns[0].read(total) - told)[0], held)[None],))
        return tuple(found)

    def answers(self, net: Net, weights: tuple[Any, ...], total: Any, messages: Messages) -> list[Any]:
        """Send the messages of all pairs, from what variables hear in all (1, n), by pieces."""
        half = jnp.tanh(total / 2)
        found = []
        for kind, piece, of, own in zip(self.tables, pieces_of(net), weights, messages, strict=True):
            send, heard = (_in_series, half) if kind == "weak" else (_by_ratio, total)
            found.append(piece.layout.sent(send, of, heard, own))
        return found

    def damped(self, new: Any, old: Any, damping: Any) -> Any:
        """Mix a message with the old one."""
        return new + damping * (old - new)

    def changes(self, new: Any, old: Any) -> Any:
        """Give the range over states of the change."""
        return jnp.abs(new - old)[0]

    def as_logs(self, net: Net, messages: Messages) -> Messages:
        """Write messages as logs of both states, the largest at zero."""
        pairs, counts = _parted(net, messages)
        each = zip(net.tallies, counts, strict=True)
        laws = ((_logs(told), jnp.zeros((t.cardinalities[1], len(t.bags)), told.dtype)) for t, (told,) in each)
        return (*self.pairs_as_logs(net, pairs), *laws)

    def pairs_as_logs(self, net: Net, messages: Messages) -> Messages:
        """Write those of pairs, by block, of those of the pieces."""
        pieces = pieces_of(net)
        ends = [piece.layout.ends(own) for piece, own in zip(pieces, messages, strict=True)]
        first, second = (joined(pieces, list(side)) for side in zip(*ends, strict=True)) if ends else ({}, {})
        return tuple((_logs(first[k]), _logs(second[k])) for k in range(len(net.blocks)))

    def completed(self, net: Net, scores: Scores, messages: Messages) -> Messages:
        """Add what counts hear, which no sweep sends."""
        return Logs(hard=False).completed(net, scores, messages)

    def of_logs(self, net: Net, messages: Messages) -> Messages:
        """Read messages that are logs of both states; those that no weak table sends are cut to what one sends."""
        blocks, counts = net.parted(messages)
        return (*self.pairs_of_logs(net, blocks), *((told[1:] - told[:1],) for told, _ in counts))

    def pairs_of_logs(self, net: Net, messages: Messages) -> Messages:
        """Read those of pairs, by piece, of those of the blocks."""
        found = []
        for kind, piece in zip(self.tables, pieces_of(net), strict=True):
            most = REACH if kind == "weak" else math.inf
            first, second = (jnp.clip(piece.of(m[1:] - m[:1]), -most, most) for m in messages[piece.block])
            found.append(piece.layout.kept(first, second))
        return tuple(found)


def _parted(net: Net, messages: Messages) -> tuple[Messages, Messages]:
    """Part what pieces of pairs and counts send."""
    pieces = len(pieces_of(net))
    return messages[:pieces], messages[pieces:]


def _logs(odds: Any) -> Any:
    return jnp.concatenate([jnp.minimum(-odds, 0.0), jnp.minimum(odds, 0.0)])


def kind_of(tables: Sequence[np.ndarray]) -> str:
    """Tell what is known of tables (G, 2, 2)."""
    alike = all((t[:, 0, 0] == t[:, 1, 1]).all() and (t[:, 0, 1] == t[:, 1, 0]).all() for t in tables)
    return "weak" if alike and all(np.abs(t[:, 0, 0] - t[:, 0, 1]).max() <= REACH for t in tables) else "any"


def _any_weights(layout: Layout, table: Any) -> tuple[Any, ...]:
    w = jnp.exp(table - jnp.max(table, axis=(0, 1), keepdims=True))
    to_first, to_second = (w[1:, 0], w[1:, 1], w[:1, 0], w[:1, 1]), (w[:1, 1], w[1:, 1], w[:1, 0], w[1:, 0])
    return tuple(zip(*(layout.weights(*pair, 1.0) for pair in zip(to_first, to_second, strict=True)), strict=True))


def _couplings(layout: Layout, table: Any) -> tuple[Any, ...]:
    c = jnp.tanh((table[:1, 0] - table[:1, 1]) / 2)
    return layout.weights(c, c, 0.0)


_WEIGHTS = {"any": _any_weights, "weak": _couplings}


def _by_ratio(weights: tuple[Any, ...], total: Any, back: Any) -> Any:
    """Send from weights of the states of (receiver, sender): (1, 0), (1, 1), (0, 0), (0, 1)."""
    odds = jnp.exp(jnp.clip(total - back, -LIMIT, LIMIT))
    return jnp.log((weights[0] + weights[1] * odds) / (weights[2] + weights[3] * odds))


def _in_series(c: Any, half: Any, back: Any) -> Any:
    """Send 2 atanh(c tanh(h/2)), from `half`, which is tanh of half the sender's log odds: h and what came back."""
    levels, terms = TERMS[np.dtype(back.dtype)]
    above, below = _lambert(back / 2, levels)
    x = c * ((half * below - above) / (below - half * above))
    square, found = x * x, 1 / (2 * terms - 1)
    for k in reversed(range(terms - 1)):
        found = found * square + 1 / (2 * k + 1)
    return 2 * x * found


def _lambert(u: Any, levels: int) -> tuple[Any, Any]:
    """Give tanh(u) for small u as a quotient: Lambert's continued fraction u / (1 + u^2 / (3 + u^2 / (5 + ...)))."""
    above, below = [np.array([0.0]), np.array([1.0])], [np.array([1.0]), np.array([1.0])]  # polynomials of u^2
    for k in range(2, levels + 1):
        for part in (above, below):
            part.append(np.polynomial.polynomial.polyadd((2 * k - 1) * part[-1], np.append(0.0, part[-2])))
    square = u * u
    return u * _horner(above[-1], square), _horner(below[-1], square)


def _horner(coefficients: np.ndarray, x: Any) -> Any:
    found = float(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        found = found * x + float(coefficient)
    return found
