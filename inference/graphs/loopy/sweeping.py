"""Sweeping: one sweep of messages in turns, each from the latest state.

Law: a message that is sent is that of the flooding update from the messages of the moment. Turns are cut into steps of
one width, as many as twice the turns at most, and a scan goes through them, so the program does not grow with them and
the work of a sweep is within a constant of that of its messages. What counts have to tell is sent at its end.

The sums at the variables are carried along, and are summed anew with every sweep, so that rounding does not add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..model.structure import Structure
from .exchange import Logs
from .messages import Messages, Net, Scores, Totals, net_of, totals_of
from .schedules import ends_of, turns_of
from .through_tables import outgoing_to


@dataclass(frozen=True, eq=False)
class Steps:
    """The steps of a sweep.

    Attributes:
        sent: for each block and axis of which messages are sent, the numbers of the factors that send in each step
            (S, W); the number of all factors where there are fewer.
        rows: for each block, for each axis, where the variable of each factor stands among those with as many states,
            and one number behind all for no factor (G + 1,).
    """

    sent: dict[tuple[int, int], np.ndarray]
    rows: tuple[tuple[np.ndarray, ...], ...]


@lru_cache(maxsize=128)
def steps_of(structure: Structure) -> Steps:
    """Cut the turns of the messages on a forest into steps, once for each structure.

    Raises: LawfulError where the graph has a cycle.
    """
    net = net_of(structure)
    ends = ends_of(net)
    classes = [(k, axis) for k, block in enumerate(net.blocks) for axis in range(len(block.cardinalities))]
    sizes = [net.blocks[k].size for k, _ in classes]
    kind = np.repeat(np.arange(len(classes)), sizes)
    place = np.concatenate([np.zeros(0, np.int64), *map(np.arange, sizes)])
    turn = np.unique(turns_of(ends), return_inverse=True)[1]
    begun = int(turn.max(initial=-1)) + 1
    count = np.zeros((begun, len(classes)), np.int64)
    np.add.at(count, (turn, kind), 1)
    used = np.flatnonzero(count.any(axis=0))
    width = -(-count.sum(axis=0) // max(begun, 1))  # the mean, rounded up
    needed = np.max(-(-count[:, used] // width[used]), axis=1, initial=0)
    first = np.cumsum(needed) - needed
    sent = {}
    for number in used.tolist():
        own = np.flatnonzero(kind == number)
        own = own[np.argsort(turn[own], kind="stable")]
        rank = np.arange(len(own)) - (np.cumsum(count[:, number]) - count[:, number])[turn[own]]
        found = np.full((int(needed.sum()), int(width[number])), sizes[number])
        found[first[turn[own]] + rank // width[number], rank % width[number]] = place[own]
        sent[classes[number]] = found
    where = np.split(structure.rows[ends.variable], np.cumsum(sizes)[:-1]) if classes else []
    rows: list[list[np.ndarray]] = [[] for _ in net.blocks]
    for (k, axis), own in zip(classes, where, strict=True):
        rows[k].append(np.append(own, structure.counts[net.blocks[k].cardinalities[axis]]))
    return Steps(sent, tuple(map(tuple, rows)))


class _State(NamedTuple):
    """Messages with the factors on one axis (K, G), and the sums at the variables."""

    messages: list[list[Any]]
    totals: Totals


def swept(net: Net, scores: Scores, logs: Logs, steps: Steps, messages: Messages, damping: Any) -> Messages:
    """Send the messages of a sweep in their turns, each mixed with the old one.

    Args:
        net: the factors and their variables.
        scores: the potentials.
        logs: how messages are sent.
        steps: of the sweep.
        messages: as logs, the largest entry at zero.
        damping: share of the old message in the new one.
    """
    flat = [[m.reshape((len(m), -1)) for m in block] for block in messages]
    tables = [table.reshape((*block.cardinalities, -1)) for table, block in zip(scores.tables, net.blocks, strict=True)]

    def step(state: _State, sent: dict[str, Any]) -> tuple[_State, None]:
        new = {name: _sent(state, *places[name], factors) for name, factors in sent.items()}
        # All reads come before all writes, so that the arrays are written in place.
        state, new = jax.lax.optimization_barrier((state, new))
        return _written(state, new, sent), None

    def _sent(state: _State, k: int, axis: int, factors: Any) -> tuple[Any, ...]:
        """Give the new messages, and what they add to the sums at their variables."""
        cards = net.blocks[k].cardinalities
        own = [_at(message, factors) for message in state.messages[k]]
        heard = [
            None if other == axis else _heard(state.totals, card, _at(steps.rows[k][other], factors), own[other])
            for other, card in enumerate(cards)
        ]
        table = tables[k] if tables[k].shape[-1] == 1 else _at(tables[k], factors)
        old = own[axis]
        new = logs.damped(outgoing_to(axis, table, heard, logs.temperature), old, damping)
        share = jnp.asarray(scores.counting[k], new.dtype)
        share = share if share.ndim == 0 else _at(share.reshape(-1), factors)
        if not logs.hard:
            return new, share * (new - old)
        gone = jnp.isneginf(new).astype(jnp.int32) - jnp.isneginf(old)
        return new, share * (_finite(new) - _finite(old)), gone

    def _written(state: _State, new: dict[str, tuple[Any, ...]], sent: dict[str, Any]) -> _State:
        held, finite = [list(block) for block in state.messages], dict(state.totals.finite)
        excluded = None if state.totals.excluded is None else dict(state.totals.excluded)
        for name, (message, change, *gone) in new.items():
            k, axis = places[name]
            card, rows = net.blocks[k].cardinalities[axis], _at(steps.rows[k][axis], sent[name])
            held[k][axis] = held[k][axis].at[:, sent[name]].set(message, mode="drop")
            finite[card] = finite[card].at[:, rows].add(change, mode="drop")
            if excluded is not None:
                excluded[card] = excluded[card].at[:, rows].add(gone[0], mode="drop")
        return _State(held, Totals(finite, excluded))

    places = {f"{k}.{axis}": (k, axis) for k, axis in steps.sent}
    numbers = {f"{k}.{axis}": jnp.asarray(sent, jnp.int32) for (k, axis), sent in steps.sent.items()}
    state = _State(flat, totals_of(net, scores, messages, logs.hard))
    if steps.sent:
        state, _ = jax.lax.scan(step, state, numbers)
    shapes = [[m.shape for m in block] for block in messages]
    ended = tuple(
        tuple(m.reshape(shape) for m, shape in zip(*pair, strict=True))
        for pair in zip(state.messages, shapes, strict=True)
    )
    if not net.tallies:
        return ended
    factors, counts = net.parted(ended)
    _, told = net.parted(logs.sweep(net, scores, scores.tables, ended))
    both = zip(told, counts, strict=True)
    return (*factors, *(tuple(logs.damped(*pair, damping) for pair in zip(*own, strict=True)) for own in both))


def _heard(totals: Totals, card: int, rows: Any, own: Any) -> Any:
    """Give what variables send to factors, from which they heard their own message (K, W)."""
    if totals.excluded is None:
        return _at(totals.finite[card], rows) - own
    others = _at(totals.excluded[card], rows) - jnp.isneginf(own)
    return jnp.where(others > 0, -jnp.inf, _at(totals.finite[card], rows) - _finite(own))


def _at(values: Any, places: Any) -> Any:
    """Take places of the last axis; one behind the end gives the last."""
    return jnp.asarray(values).at[..., places].get(mode="clip")


def _finite(values: Any) -> Any:
    return jnp.where(jnp.isneginf(values), 0.0, values)
