"""Counted log odds: binary variables in pairs, each in one bag at most, whose counts may be known exactly.

Law: a variable in one bag hears of its count what follows from the messages of the pairs, so no such message is kept or
damped: each sweep sends it anew, and the pairs hear of it at once. Fixed points are those of the general form, and the
beliefs of the members of a bag have at all times the sum that the bag's count has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from .layouts import pieces_of
from .log_odds import LogOdds
from .messages import Messages, Net, Scores


class Prepared(NamedTuple):
    """What all sweeps need.

    Attributes:
        odds: log odds of the variables (1, n).
        weights: for each piece, what its messages need of its tables.
        counts: for each tally, the scores of its counts (G, B + 1).
    """

    odds: Any
    weights: tuple[Any, ...]
    counts: tuple[Any, ...]


@dataclass(frozen=True)
class CountedOdds:
    """How binary variables in pairs exchange messages, where a count that nothing else reads may exclude states.

    Attributes:
        pairs: how pairs do.
    """

    pairs: LogOdds

    @property
    def hard(self) -> bool:
        """A count may exclude states."""
        return True

    def start(self, net: Net, dtype: Any) -> Messages:
        """Give messages that say nothing."""
        return tuple(piece.layout.start(dtype) for piece in pieces_of(net))

    def prepared(self, net: Net, scores: Scores) -> Prepared:
        """Give log odds, and what messages need of tables and of the scores of counts."""
        counts = (tally.scores(scores.unary[tally.cardinalities[1]]) for tally in net.tallies)
        return Prepared(*self.pairs.prepared(net, scores), tuple(counts))

    def sweep(self, net: Net, scores: Scores, prepared: Prepared, messages: Messages) -> Messages:
        """Send all messages once, undamped; counts first."""
        pairs = prepared.odds
        for piece, own in zip(pieces_of(net), messages, strict=True):
            pairs = piece.layout.add(pairs, own)
        total = pairs
        for tally, known in zip(net.tallies, prepared.counts, strict=True):
            column = tally.columns[0]
            total = column.add(total, tally.answers(column.read(pairs)[0], known)[None])
        return tuple(self.pairs.answers(net, prepared.weights, total, messages))

    def damped(self, new: Any, old: Any, damping: Any) -> Any:
        """Mix a message with the old one."""
        return self.pairs.damped(new, old, damping)

    def changes(self, new: Any, old: Any) -> Any:
        """Give the range over states of the change."""
        return self.pairs.changes(new, old)

    def as_logs(self, net: Net, messages: Messages) -> Messages:
        """Write messages of pairs as logs of both states, the largest at zero."""
        return self.pairs.pairs_as_logs(net, messages)

    def completed(self, net: Net, scores: Scores, messages: Messages) -> Messages:
        """Add nothing: what counts send and hear is found with the beliefs."""
        return messages

    def of_logs(self, net: Net, messages: Messages) -> Messages:
        """Read messages of pairs that are logs of both states."""
        return self.pairs.pairs_of_logs(net, messages)
