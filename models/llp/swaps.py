"""Local search: labels improved by exchanging two of them within a bag, until no exchange helps.

Law: every step raises the score, and at the end no exchange of two labels within a bag raises it, nor, where a count is
noisy or not known, does any change of one label. Counts that were met stay met.

The best move of each bag is found exactly, and moves of bags that are no neighbours are made at once: among neighbours
the one that gains most.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .fields import Counted, Joint, fields, ones_in

__all__ = ["improved"]

MOST = 20_000  # moves of each bag
STILL = 1e-9  # a gain that rounding may have made, times the scale of the fields


def improved(joint: Joint, start: np.ndarray) -> np.ndarray:
    """Improve labels that meet the counts (n,) until no exchange does.

    >>> from lawful.models.llp.bags import Bags
    >>> from lawful.models.llp.fields import joint_of
    >>> joint = joint_of(np.array([0.0, 3.0, 1.0]), Bags.from_ids([0, 0, 0], [1]))
    >>> improved(joint, np.array([1, 0, 0])).tolist()
    [0, 1, 0]
    """
    inside = _inside(joint, len(start))
    joint = jax.tree.map(jnp.asarray, joint)
    return np.asarray(_searched(joint, inside, jnp.asarray(start, jnp.int32)))


class _Inside(NamedTuple):
    """The neighbours of each row in its own bag, n where there are fewer, and the numbers of their edges (n + 1, D)."""

    rows: Any
    edges: Any


def _inside(joint: Joint, n: int) -> _Inside:
    edges, owners = np.asarray(joint.edges), np.asarray(joint.owners)
    own = np.flatnonzero(owners[edges[:, 0]] == owners[edges[:, 1]])
    ends = np.concatenate([edges[own], edges[own][:, ::-1]])
    order = np.argsort(ends[:, 0], kind="stable")
    source, target, number = ends[order, 0], ends[order, 1], np.concatenate([own, own])[order]
    place = np.arange(len(source)) - np.searchsorted(source, source)
    rows = np.full((n + 1, int(place.max(initial=-1)) + 1), n, np.int32)
    numbers = np.zeros(rows.shape, np.int32)
    rows[source, place], numbers[source, place] = target, number
    return _Inside(jnp.asarray(rows), jnp.asarray(numbers))


@jax.jit
def _searched(joint: Joint, inside: _Inside, start: jax.Array) -> jax.Array:
    classes = joint.scores.shape[1]
    pairs = [(a, b) for b in range(classes) for a in range(b)]
    scale = jnp.max(jnp.where(jnp.isfinite(joint.scores), jnp.abs(joint.scores), 0), initial=1.0)
    least = jnp.maximum(STILL, 8 * jnp.finfo(joint.scores.dtype).eps) * scale

    def sweep(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        y, moved = state[0], jnp.asarray(False)
        for a, b in pairs:
            y, some = _moved(joint, inside, y, a, b, least)
            moved |= some
        return y, moved, state[2] + 1

    def going(state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        return state[1] & (state[2] < MOST)

    return jax.lax.while_loop(going, sweep, (start, jnp.asarray(True), jnp.int32(0)))[0]


def _moved(
    joint: Joint, inside: _Inside, y: Int[Array, " n"], a: int, b: int, least: Float[Array, ""]
) -> tuple[Int[Array, " n"], Any]:
    """Make the best moves between two classes of bags that are no neighbours of better ones."""
    field = fields(joint, y)
    gains = jnp.append(field[:, b] - field[:, a], 0)  # of becoming b; minus that of leaving it
    held = jnp.append(y, -1)
    moves = [_best(joint, inside, bags, held, gains, a, b) for bags in joint.bags]
    gain = jnp.full(len(y) + 1, -jnp.inf, gains.dtype)
    for best, i, j in moves:
        gain = gain.at[i].set(best).at[j].set(best)
    gain = gain.at[-1].set(-jnp.inf)
    beaten = jnp.append(_beaten(joint, gain[:-1], least), False)
    some = jnp.asarray(False)
    for best, i, j in moves:
        goes = (best > least) & ~beaten[i] & ~beaten[j]
        held = held.at[i].set(jnp.where(goes & (i < len(y)), b, held[i]))
        held = held.at[j].set(jnp.where(goes & (j < len(y)), a, held[j]))
        some |= jnp.any(goes)
    return held[:-1], some


def _best(
    joint: Joint, inside: _Inside, bags: Counted, held: Any, gains: Any, a: int, b: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Find the best move of each bag: its gain, the row that becomes b and the row that becomes a; n for none."""
    n, most = len(held) - 1, min(inside.rows.shape[1] + 1, bags.rows.shape[1])
    told = gains[bags.rows]
    up, low = _top(jnp.where(held[bags.rows] == a, told, -jnp.inf), bags.rows, most)
    down, high = _top(jnp.where(held[bags.rows] == b, -told, -jnp.inf), bags.rows, most)
    # Two neighbours' gains do not add up; with one more candidate than neighbours the best pair is among them.
    swap = up[:, :, None] + down[:, None, :] - _both(joint, inside, low, high, a, b)
    place = jnp.argmax(swap.reshape(len(swap), -1), axis=1)
    best = jnp.take_along_axis(swap.reshape(len(swap), -1), place[:, None], axis=1)[:, 0]
    pick = [
        jnp.take_along_axis(rows, at[:, None], axis=1)[:, 0]
        for rows, at in ((low, place // most), (high, place % most))
    ]
    number = ones_in(bags, held[:-1] == b)
    weights = jnp.pad(bags.weights[b - 1], ((0, 0), (1, 1)), constant_values=-jnp.inf)
    around = number[:, None] + jnp.arange(3, dtype=jnp.int32)[None]
    less, now, more = jnp.unstack(jnp.take_along_axis(weights, around, axis=1), axis=1)
    none = jnp.full_like(low[:, 0], n)
    moves = [(best, *pick), (up[:, 0] + more - now, low[:, 0], none), (down[:, 0] + less - now, none, high[:, 0])]
    which = jnp.argmax(jnp.stack([move[0] for move in moves]), axis=0)
    gain, riser, faller = (jnp.choose(which, list(parts), mode="clip") for parts in zip(*moves, strict=True))
    return gain, riser, faller


def _top(values: Any, rows: Any, most: int) -> tuple[jax.Array, jax.Array]:
    """Give the largest values of each bag, and their rows (G, most)."""
    found, place = jax.lax.top_k(values, most)
    return found, jnp.take_along_axis(rows, place, axis=1)


def _both(joint: Joint, inside: _Inside, low: Any, high: Any, a: int, b: int) -> jax.Array:
    """What an exchange loses because its two rows are neighbours (G, most, most)."""
    table = joint.tables[inside.edges[high] % len(joint.tables)]
    bond = table[..., a, a] + table[..., b, b] - table[..., a, b] - table[..., b, a]
    meets = inside.rows[high][:, None] == low[:, :, None, None]
    return jnp.sum(jnp.where(meets, bond[:, None], 0), axis=-1)


def _beaten(joint: Joint, gain: Any, least: Any) -> jax.Array:
    """Mark rows with a neighbour in another bag that gains more; among equals the bag that comes first goes."""
    first, second = joint.edges[:, 0], joint.edges[:, 1]
    own = joint.owners
    apart = own[first] != own[second]

    def loses(p: Any, q: Any) -> jax.Array:
        tied = (gain[q] == gain[p]) & (own[q] < own[p])
        return apart & (gain[q] > least) & ((gain[q] > gain[p]) | tied)

    beaten = jnp.zeros(len(gain), bool).at[first].max(loses(first, second))
    return beaten.at[second].max(loses(second, first))
