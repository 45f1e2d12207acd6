"""Descents: from the roots of a forest outwards, each factor gives its variables states, given the one that it knows.

Law: with states drawn at each step from the law of the rest of the scope given what is known, the states of all
variables are an exact draw; with the best states instead they are a best assignment. The uniforms are used once each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import counts
from ..counts.sampling import pick
from ..model.structure import Structure
from .forests import levels_of, settled_program
from .free_energy import Point
from .messages import Block, Net, net_of
from .tallies import Tally


class _Place(NamedTuple):
    """Where factors stand: their variables by number for each axis, and their vertices in the forest (G,)."""

    scopes: tuple[np.ndarray, ...]
    vertices: np.ndarray


def uniforms_needed(structure: Structure) -> int:
    """Count the uniforms of a draw from a forest: for roots, for factors, and for the members of each bag."""
    net = net_of(structure)
    return structure.size + sum(b.size for b in net.blocks) + sum(_uniforms_of(tally) for tally in net.tallies)


def _uniforms_of(tally: Tally) -> int:
    members = len(tally.states) if tally.cardinalities[0] > 2 else 0
    return len(tally.bags) * counts.uniforms_needed(tally.size) + members


@lru_cache(maxsize=64)
def drawing(structure: Structure) -> Any:
    """Make a function of potentials and uniforms that gives the states of all variables (n,)."""
    settle = settled_program(structure, 1.0)
    return jax.jit(lambda potentials, uniforms: _descend(structure, settle(potentials), uniforms))


@lru_cache(maxsize=64)
def deciding(structure: Structure) -> Any:
    """Make a function of potentials that gives the states of a best assignment (n,)."""
    settle = settled_program(structure, None)
    return jax.jit(lambda potentials: _descend(structure, settle(potentials), None))


def _descend(structure: Structure, point: Point, uniforms: Any) -> Any:
    """Give states to all variables, level by level."""
    net, levels = net_of(structure), levels_of(structure)
    senders = [(*pair, _place(net, k)) for k, pair in enumerate(zip(net.senders, point.sent, strict=True))]
    slots = _slots(net, [place for *_, place in senders], levels.parent)
    cuts = np.cumsum([structure.size, *(b.size for b in net.blocks), *(_uniforms_of(t) for t in net.tallies)])
    shares: list[Any] = [None] * len(cuts)
    if uniforms is not None:
        shares = jnp.split(uniforms, [int(c) for c in cuts[:-1]])
    x = jnp.zeros(structure.size, jnp.int32)
    for card, _ in net.cardinalities:
        own = structure.cardinalities == card
        found = _chosen(point.variables[card], None if uniforms is None else shares[0][own])
        x = x.at[np.flatnonzero(own)].set(found)

    def step(level: Any, x: Any) -> Any:
        given = [
            _given(sender, sent, point.factors[k] if k < len(net.blocks) else None, place, levels.parent, x, share)
            for k, ((sender, sent, place), share) in enumerate(zip(senders, shares[1:], strict=True))
        ]
        every = jnp.concatenate([x, *(s.reshape(-1) for s in given)])
        return jnp.where(levels.level == level, every[slots], x)

    levels = levels._replace(level=levels.level[: structure.size])
    return jax.lax.fori_loop(1, levels.depth + 1, step, x) if levels.depth else x


def _place(net: Net, k: int) -> _Place:
    """Find the variables and the vertices of the factors of a block or a tally."""
    structure, sender = net.structure, net.senders[k]
    starts = structure.vertices
    if isinstance(sender, Block):
        scopes = np.concatenate([structure.groups[p.group].scopes[:, p.order] for p in sender.parts])
        vertices = np.concatenate([starts[p.group] + np.arange(p.size) for p in sender.parts])
        return _Place(tuple(scopes.T), vertices)
    count = structure.counted[sender.number]
    vertices = starts[len(structure.groups) + sender.number] + sender.bags
    return _Place((count.members[sender.taken], count.totals[sender.bags]), vertices)


def _slots(net: Net, places: Sequence[_Place], parent: np.ndarray) -> np.ndarray:
    """Say where each variable finds its state: among the given ones, one behind the other, or its own for a root."""
    size = net.structure.size
    slots, start = np.arange(size), size
    for sender, place in zip(net.senders, places, strict=True):
        for axis, numbers in enumerate(place.scopes):
            vertex = place.vertices[_owner(sender, axis)]
            mine = parent[numbers] == vertex
            slots[numbers[mine]] = start + np.flatnonzero(mine)
            start += len(numbers)
    return slots


def _owner(sender: Block | Tally, axis: int) -> np.ndarray:
    """Give the factor of each variable on an axis."""
    if isinstance(sender, Block) or axis:
        return np.arange(sender.size if isinstance(sender, Block) else len(sender.bags))
    if sender.places is None:
        return np.repeat(np.arange(len(sender.bags)), sender.size)
    return np.repeat(np.arange(len(sender.bags)), np.sum(sender.places < len(sender.states), axis=1))


def _given(
    sender: Block | Tally, sent: Any, joint: Any, place: _Place, parent: np.ndarray, x: Any, uniforms: Any
) -> Any:
    """Give states to all variables of factors, each given the state of the variable on the way to its root."""
    if isinstance(sender, Tally):
        return _given_by_counts(sender, sent, place, parent, x, uniforms)
    cards, size = sender.cardinalities, sender.size
    scores = jnp.broadcast_to(joint, (*cards, *sender.shape)).reshape((-1, size))
    states = np.indices(cards).reshape((len(cards), -1, 1))
    for axis, numbers in enumerate(place.scopes):
        known = parent[place.vertices] == numbers
        scores = jnp.where(known & (states[axis] != x[numbers]), -jnp.inf, scores)
    chosen = _chosen(scores, uniforms)
    return jnp.concatenate([jnp.asarray(states[axis, :, 0], jnp.int32)[chosen] for axis in range(len(cards))])


def _given_by_counts(tally: Tally, sent: Any, place: _Place, parent: np.ndarray, x: Any, uniforms: Any) -> Any:
    members, totals = place.scopes
    owner = _owner(tally, 0)
    h, g = tally.heard(sent, None if uniforms is None else 1.0)
    known = parent[place.vertices][owner] == members
    own = jnp.where(x[members] == tally.states, jnp.inf, -jnp.inf).astype(h.dtype)
    h = jnp.where(tally.in_rows(known, 0).astype(bool), tally.in_rows(own, -jnp.inf), h)
    told = (parent[place.vertices] == totals)[:, None]
    g = jnp.where(told & (np.arange(tally.size + 1) != x[totals][:, None]), -jnp.inf, g)
    if uniforms is None:
        hits = counts.best_assignment(h, g).assignment
        rest = None
    else:
        cut = len(tally.bags) * counts.uniforms_needed(tally.size)
        hits = counts.push_members(uniforms[:cut].reshape((len(tally.bags), -1)), h, g)
        rest = uniforms[cut:]
    ones = jnp.sum(hits, axis=1, dtype=jnp.int32)
    hit, card = tally.in_column(hits), tally.cardinalities[0]
    if card == 2:
        states = jnp.where(hit, tally.states, 1 - tally.states).astype(jnp.int32)
    else:
        among = jnp.where(np.arange(card)[:, None] == tally.states, -jnp.inf, sent[0])
        states = jnp.where(hit, tally.states, _chosen(among, rest)).astype(jnp.int32)
    states = jnp.where(known, x[members], states)
    return jnp.concatenate([states, ones])


def _chosen(scores: Any, uniforms: Any) -> Any:
    """Choose a state of each column of log scores (S, G): the best one, or that in whose share a uniform falls."""
    if uniforms is None:
        return jnp.argmax(scores, axis=0).astype(jnp.int32)
    top = jnp.max(scores, axis=0)
    return pick(uniforms, jnp.exp(scores - jnp.where(jnp.isneginf(top), 0.0, top)))
