"""Log-odds messages: belief propagation on binary variables in pairs, one number a message.

Law: a message is log m(1) - log m(0), so nothing is normalised; with finite scores no message is infinite, and the
update is that of the general form. An exponential and a logarithm serve a message.

A log-odds beyond 80 acts as 80 would: the difference is below the rounding of the sum while the entries of a table lie
within a factor e**40 of each other, which is what `fits` asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from .messages import Messages, Net, Scores

LIMIT = 80.0
RANGE = 40.0


@dataclass(frozen=True)
class LogOdds:
    """How binary variables in pairs exchange messages."""

    @property
    def hard(self) -> bool:
        """Every state is possible."""
        return False

    def start(self, net: Net, dtype: Any) -> Messages:
        """Give messages that say nothing."""
        return tuple((jnp.zeros((1, *block.shape), dtype),) * 2 for block in net.blocks)

    def prepared(self, net: Net, scores: Scores) -> tuple[Any, tuple[Any, ...]]:
        """Give log-odds of the variables (1, n), and for each block its tables as weights (2, 2, *shape)."""
        both = scores.unary[2]
        weights = tuple(jnp.exp(table - jnp.max(table, axis=(0, 1), keepdims=True)) for table in scores.tables)
        return both[1:] - both[:1], weights

    def sweep(self, net: Net, scores: Scores, prepared: Any, messages: Messages) -> Messages:
        """Send all messages once, undamped."""
        total, weights = prepared
        for block, counting, own in zip(net.blocks, scores.counting, messages, strict=True):
            for column, message in zip(block.columns, own, strict=True):
                total = column.add(total, counting * message)
        found = []
        for block, table, own in zip(net.blocks, weights, messages, strict=True):
            first, second = (
                jnp.exp(jnp.clip(column.read(total) - message, -LIMIT, LIMIT))
                for column, message in zip(block.columns, own, strict=True)
            )
            found.append((
                jnp.log((table[1, 0] + table[1, 1] * second) / (table[0, 0] + table[0, 1] * second)),
                jnp.log((table[0, 1] + table[1, 1] * first) / (table[0, 0] + table[1, 0] * first)),
            ))  # fmt: skip
        return tuple(found)

    def damped(self, new: Any, old: Any, damping: Any) -> Any:
        """Mix a message with the old one."""
        return new + damping * (old - new)

    def changes(self, new: Any, old: Any) -> Any:
        """Give the range over states of the change."""
        return jnp.abs(new - old)[0]

    def as_logs(self, messages: Messages) -> Messages:
        """Write messages as logs of both states, the largest at zero."""
        return tuple(
            tuple(jnp.concatenate([jnp.minimum(-m, 0.0), jnp.minimum(m, 0.0)]) for m in block) for block in messages
        )

    def completed(self, net: Net, scores: Scores, messages: Messages) -> Messages:
        """Sweeps send all messages."""
        return messages

    def of_logs(self, messages: Messages) -> Messages:
        """Read messages that are logs of both states."""
        return tuple(tuple(m[1:] - m[:1] for m in block) for block in messages)
