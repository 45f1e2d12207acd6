"""Exchange: how messages are kept and sent, one form for each kind of graph; here the form that serves every graph.

Law: all forms send the same messages. A damped message that stays is one that an undamped sweep leaves as it is, since
both of its parts are levelled in the same way before they are mixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp

from .messages import Messages, Net, Scores, incoming, start, totals_of
from .through_tables import normalised, outgoing, outgoing_weights


@runtime_checkable
class Exchange(Protocol):
    """How messages are kept and sent; one form for each kind of graph."""

    @property
    def hard(self) -> bool:
        """Whether scores may hold -inf."""

    def start(self, net: Net, dtype: Any) -> Messages:
        """Give messages that say nothing."""

    def prepared(self, net: Net, scores: Scores) -> Any:
        """Compute what all sweeps need."""

    def sweep(self, net: Net, scores: Scores, prepared: Any, messages: Messages) -> Messages:
        """Send all messages once, undamped."""

    def damped(self, new: Any, old: Any, damping: Any) -> Any:
        """Mix a message with the old one."""

    def changes(self, new: Any, old: Any) -> Any:
        """Give the range over states of new - old, one for each message."""

    def as_logs(self, net: Net, messages: Messages) -> Messages:
        """Write messages as logs, the largest entry at zero."""

    def of_logs(self, net: Net, messages: Messages) -> Messages:
        """Read messages that are logs."""

    def completed(self, net: Net, scores: Scores, messages: Messages) -> Messages:
        """Add to messages, as logs, what no sweep needs."""


@dataclass(frozen=True)
class Logs:
    """Messages as logs of all states: for every graph.

    Attributes:
        hard: whether scores may hold -inf.
        temperature: 1 for sums of products, None for largest products, other values between.
        weights: whether tables are finite, and lie within a range whose exponentials can be added up.
        potts: whether they are also of pairs, with one weight for all states that differ, and no less for equal ones.
        leaves: whether a sweep tells counts that nothing else reads of their members; it changes no other message.
    """

    hard: bool = True
    temperature: float | None = 1.0
    weights: bool = False
    potts: bool = False
    leaves: bool = False

    def start(self, net: Net, dtype: Any) -> Messages:
        """Give messages that say nothing."""
        return start(net, dtype)

    def prepared(self, net: Net, scores: Scores) -> Any:
        """Give the tables, as weights where these are wanted."""
        if not self.weights:
            return scores.tables
        axes = [tuple(range(len(block.cardinalities))) for block in net.blocks]
        return tuple(
            jnp.exp(table - jnp.max(table, axis=along, keepdims=True))
            for table, along in zip(scores.tables, axes, strict=True)
        )

    def sweep(self, net: Net, scores: Scores, prepared: Any, messages: Messages) -> Messages:
        """Send all messages once, undamped."""
        totals = totals_of(net, scores, messages, self.hard)
        blocks, counts = net.parted(tuple(incoming(net, totals, messages)))
        if self.weights:
            found = [outgoing_weights(table, of, self.potts) for table, of in zip(prepared, blocks, strict=True)]
        else:
            found = [outgoing(table, of, self.temperature) for table, of in zip(prepared, blocks, strict=True)]
        for tally, of, (_, before) in zip(net.tallies, counts, net.parted(messages)[1], strict=True):
            told, law = tally.outgoing(of, self.temperature, law=self.leaves or not tally.leaf)
            found.append((told, before if law is None else law))
        return tuple(found)

    def completed(self, net: Net, scores: Scores, messages: Messages) -> Messages:
        """Add what counts hear that nothing else reads: no sweep needs it."""
        if not any(tally.leaf for tally in net.tallies):
            return messages
        found, sent = list(messages), incoming(net, totals_of(net, scores, messages, self.hard), messages)
        for tally, k in zip(net.tallies, range(len(net.blocks), len(found)), strict=True):
            if tally.leaf:
                h, _ = tally.heard(sent[k], self.temperature)
                found[k] = (messages[k][0], tally.law(h, self.temperature))
        return tuple(found)

    def damped(self, new: Any, old: Any, damping: Any) -> Any:
        """Mix; a state that either message excludes is as the new one has it."""
        if not self.hard:  # of two levelled messages, so no mixture has to be levelled again
            return new + damping * (old - new)
        step = old - new
        return normalised(jnp.where(jnp.isfinite(step), new + damping * step, new))

    def changes(self, new: Any, old: Any) -> Any:
        """Give the range; inf where the states possible differ."""
        out, gone = jnp.isneginf(new), jnp.isneginf(old)
        both = out & gone
        step = jnp.where(both, 0.0, jnp.where(out | gone, jnp.inf, new - old))
        top = jnp.max(jnp.where(both, -jnp.inf, step), axis=0)
        low = jnp.min(jnp.where(both, jnp.inf, step), axis=0)
        some = jnp.any(out != gone, axis=0)
        return jnp.where(some, jnp.inf, jnp.where(top >= low, top - low, 0.0))

    def as_logs(self, net: Net, messages: Messages) -> Messages:
        """Level them."""
        return tuple(tuple(normalised(m) for m in block) for block in messages)

    def of_logs(self, net: Net, messages: Messages) -> Messages:
        """They are logs."""
        return messages
