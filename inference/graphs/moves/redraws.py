"""Redraws: block Gibbs on a graph, many blocks at once, in which each count stays or follows from its bag alone.

Law: each step leaves the measure as it is. Which variables move is chosen without a look at states; given all others
they are drawn exactly. There are three kinds of blocks.

`apart` takes variables of which no two share a factor: given the rest, those of a cell are independent but for their
counts, and all cells are drawn at once. `together` takes two of each cell, of cells whose pairs share no factor, so
that a cell whose variables all meet moves too. The number of labels in a cell that is not loose stays; a loose one's
counts are drawn with it. `across` takes two variables of one bag, whatever cells they are in, with all counts that
follow.

With more than two labels, the first two kinds redraw which variables have which of two labels.

Reference: Kawasaki (1966), Diffusion constants near the critical point for time-dependent Ising models, for exchanges.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..model.potentials import Potentials, scores_at
from ..model.structure import Structure
from .cells import Cells, Layout, layout_of
from .fields import fields, own_scores, pairs_of


class Block(NamedTuple):
    """Variables that are drawn together, given all others.

    Attributes:
        chosen: which variables move (n,).
        odds: log odds of the second label against the first one for each of them, cells of similar size together.
        weights: for each cell, log weights of how many of them have the second label (G, B + 1).
    """

    chosen: Any
    odds: tuple[Any, ...]
    weights: tuple[Any, ...]


def apart(structure: Structure, potentials: Potentials, x: Int[Array, " n"], turn: Any, a: Any, b: Any) -> Block:
    """Say how variables of which no two share a factor are distributed among two labels, given all others.

    Args:
        structure: of the graph.
        potentials: its numbers.
        x: states of all variables, of positive mass.
        turn: a number from 0 to n - 1 that decides which variables move.
        a: a label.
        b: another label.
    """
    layout = layout_of(structure)
    y, free = layout.labels(x), layout.owners >= 0
    rank = jnp.where(
        free, jnp.asarray(_shuffled(structure.size))[(np.arange(structure.size) + turn) % structure.size], -1
    )
    chosen = free & ~_beaten(structure, rank, np.arange(structure.size)) & ((y == a) | (y == b))
    gain = _gains(layout, fields(structure, pairs_of(structure, potentials), x), a, b)
    odds = jnp.where(gain[:, 1] == 0, gain[:, 0], jnp.where(gain[:, 1] > 0, -jnp.inf, jnp.inf))
    padded = jnp.append(jnp.where(chosen, odds, -jnp.inf), -jnp.inf)
    return Block(
        chosen,
        tuple(padded[cells.rows] for cells in layout.cells),
        tuple(_weights(structure, potentials, cells, chosen, y, a, b) for cells in layout.cells),
    )


def placed(
    structure: Structure, block: Block, x: Int[Array, " n"], ones: Sequence[Any], a: Any, b: Any
) -> Int[Array, " n"]:
    """Give the variables of a block the labels that were drawn, True for the second one, and all counts theirs."""
    layout = layout_of(structure)
    drawn = jnp.zeros(structure.size + 1, bool)
    for cells, own in zip(layout.cells, ones, strict=True):
        drawn = drawn.at[cells.rows].set(own)
    y = jnp.where(block.chosen, jnp.where(drawn[:-1], b, a), layout.labels(x))
    return layout.settled(layout.labels(y).astype(x.dtype))


class Couples(NamedTuple):
    """Two variables of each cell, n for both in a cell of one or one that does not move (G,), and log weights (G, 4).

    The weights are those of the second label for neither, for the first variable, for the second one, and for both.
    """

    first: Any
    second: Any
    weights: Any


def together(
    structure: Structure, potentials: Potentials, x: Int[Array, " n"], picks: Any, turn: Any, a: Any, b: Any
) -> tuple[Couples, ...]:
    """Say how two variables of each cell are distributed among two labels, given all others.

    Args:
        structure: of the graph.
        potentials: its numbers.
        x: states of all variables, of positive mass.
        picks: for each of the cells of similar size, a place in each cell (G,), and a place among the others (G,).
        turn: a number from 0 to the number of cells less one, that decides which of two cells moves that meet.
        a: a label.
        b: another label.
    """
    layout, n = layout_of(structure), structure.size
    y = layout.labels(x)
    ranks = jnp.asarray(_shuffled(layout.number))[(np.arange(layout.number) + turn) % layout.number]
    rank, held = jnp.full(n + 1, -1), jnp.append(y, -1)
    both = []
    for cells, (place, other) in zip(layout.cells, picks, strict=True):
        sizes = np.sum(cells.rows < n, axis=1).astype(np.int32)
        pick = place, (place + 1 + other) % sizes
        i, j = (jnp.where(sizes > 1, jnp.take_along_axis(cells.rows, p[:, None], axis=1)[:, 0], n) for p in pick)
        own = ranks[cells.first : cells.first + len(cells.rows)]
        rank = rank.at[i].set(own).at[j].set(own)
        both.append((i, j))
    beaten = jnp.append(_beaten(structure, rank[:-1], layout.owners), True)

    def free(at: Any) -> Any:
        return ~beaten[at] & ((held[at] == a) | (held[at] == b))

    moving = [free(i) & free(j) for i, j in both]
    both = [(jnp.where(go, i, n), jnp.where(go, j, n)) for (i, j), go in zip(both, moving, strict=True)]

    def gains(first: Any) -> Any:
        told = held
        for i, j in both:
            told = told.at[i].set(first).at[j].set(a)
        at = layout.labels(told[:-1]).astype(x.dtype)
        found = _gains(layout, fields(structure, pairs, at), a, b)
        return jnp.concatenate([found, jnp.zeros_like(found[:1])])

    pairs = pairs_of(structure, potentials)
    neither, one = gains(a), gains(b)
    found = []
    for cells, (i, j) in zip(layout.cells, both, strict=True):
        chosen = jnp.zeros(n + 1, bool).at[i].set(True).at[j].set(True)[:-1]
        number = _weights(structure, potentials, cells, chosen, y, a, b, 2)
        steps = jnp.stack([jnp.zeros_like(neither[i]), neither[i], neither[j], neither[i] + one[j]], axis=1)
        now = (held[i] == b) + 2 * (held[j] == b)
        at = jnp.take_along_axis(steps, now[:, None, None], axis=1)
        out = steps[..., 1] > at[..., 1] + 0.5  # the states are possible, so what excludes more than they is impossible
        weights = jnp.where(out, -jnp.inf, steps[..., 0]) + number[:, np.array([0, 1, 1, 2])]
        found.append(Couples(i, j, jnp.where((i < n)[:, None], weights, 0.0)))
    return tuple(found)


def exchanged(
    structure: Structure, pairs: tuple[Couples, ...], x: Int[Array, " n"], drawn: Any, a: Any, b: Any
) -> Int[Array, " n"]:
    """Give two variables of each cell the labels that were drawn, as numbers of the weights (G,), and counts theirs."""
    layout = layout_of(structure)
    y = jnp.append(layout.labels(x), -1)
    for pair, own in zip(pairs, drawn, strict=True):
        y = y.at[pair.first].set(jnp.where(own % 2 == 1, b, a)).at[pair.second].set(jnp.where(own >= 2, b, a))
    return layout.settled(layout.labels(y[:-1]).astype(x.dtype))


def picking(structure: Structure) -> list[tuple[np.ndarray, np.ndarray]]:
    """Give log weights of the places in each cell (G, B), and of those among the others (G, B - 1, at least one)."""
    found = []
    for cells in layout_of(structure).cells:
        sizes, size = np.sum(cells.rows < structure.size, axis=1)[:, None], cells.rows.shape[1]
        pair = np.arange(size) < sizes, np.arange(max(size - 1, 1)) < np.maximum(sizes - 1, 1)
        found.append((np.where(pair[0], 0.0, -np.inf), np.where(pair[1], 0.0, -np.inf)))
    return found


class Crossed(NamedTuple):
    """Assignments with all joint states of two variables (S, n), and their log scores (S,)."""

    states: Any
    scores: Any


def crossing(structure: Structure) -> np.ndarray:
    """List the bags with members that are in a cell that is not loose."""
    layout = layout_of(structure)
    loose = np.append(np.concatenate([np.zeros(0, bool), *(cells.loose for cells in layout.cells)]), True)
    return np.unique(layout.bags.of[~loose[layout.owners[layout.bags.members]]])


def largest_crossing(structure: Structure) -> int:
    """Count the members of the largest of these bags."""
    bags = layout_of(structure).bags
    return int(np.bincount(bags.of, minlength=len(bags.totals))[crossing(structure)].max(initial=1))


def across(structure: Structure, potentials: Potentials, x: Int[Array, " n"], bag: Any, picks: Any) -> Crossed:
    """Score all joint states of two variables, given all others but the counts, which follow.

    Args:
        structure: of the graph.
        potentials: its numbers.
        x: states of all variables, of positive mass.
        bag: the place of a bag among `crossing`.
        picks: two places below `largest_crossing`; in a smaller bag the first member comes after the last one (2,).
    """
    bags, most = layout_of(structure).bags, _most(structure)
    ends = np.searchsorted(bags.of, [crossing(structure), crossing(structure) + 1])
    low, high = jnp.asarray(ends)[:, bag]
    u, v = (jnp.asarray(bags.members)[low + picks[k] % (high - low)] for k in (0, 1))
    layout, cards = layout_of(structure), jnp.asarray(structure.cardinalities)
    first, second = np.divmod(np.arange(most**2), most)

    def at(p: Any, q: Any) -> Any:
        return layout.settled(x.at[v].set(q.astype(x.dtype)).at[u].set(p.astype(x.dtype)))

    states = jax.vmap(at)(jnp.asarray(first), jnp.asarray(second))
    scores = jax.vmap(lambda s: jnp.asarray(scores_at(structure, potentials, s)))(states)
    possible = (first < cards[u]) & (second < cards[v]) & ((u != v) | (second == 0))
    return Crossed(states, jnp.where(possible, scores, -jnp.inf))


def _most(structure: Structure) -> int:
    return int(structure.cardinalities[layout_of(structure).owners >= 0].max(initial=1))


def labels_of(structure: Structure) -> np.ndarray:
    """List the pairs of labels among which a step redraws (P, 2)."""
    return np.array([(a, b) for b in range(max(_most(structure), 2)) for a in range(b)], np.int32)


def _gains(layout: Layout, field: Any, a: Any, b: Any) -> Any:
    """Give what each variable gains by the second label in place of the first one, as pairs (n, 2)."""
    turned = layout.turned[:, None, None] & (np.arange(field.shape[1]) < 2)[:, None]
    flipped = jnp.concatenate([field[:, 1::-1], field[:, 2:]], axis=1) if field.shape[1] > 1 else field
    own = jnp.where(turned, flipped, field)
    return own[:, jnp.minimum(b, own.shape[1] - 1)] - own[:, a]


def _weights(
    structure: Structure,
    potentials: Potentials,
    cells: Cells,
    chosen: Any,
    y: Any,
    a: Any,
    b: Any,
    most: int | None = None,
) -> Float[Array, "G S"]:
    """Give log weights of how many of the chosen variables of each cell have the second label."""
    layout = layout_of(structure)
    padded, held = jnp.append(chosen, False)[cells.rows], jnp.append(y, -1)[cells.rows]
    many, now = jnp.sum(padded, axis=1), jnp.sum(padded & (held == b), axis=1)
    s = jnp.arange((cells.rows.shape[1] if most is None else most) + 1)[None]
    scores = jnp.append(jnp.asarray(own_scores(structure, potentials)), 0.0)
    counts = jnp.append(layout.counts(layout.labels(y)), 0)
    starts, widths = np.append(layout.bags.starts, len(scores) - 1), np.append(layout.bags.widths, 1)
    total = jnp.zeros(s.shape, scores.dtype) + jnp.zeros((len(cells.rows), 1), scores.dtype)
    for bag, label in zip(cells.bags.T, cells.labels.T, strict=True):
        change = jnp.where(label == b, 1, jnp.where(label == a, -1, 0))[:, None] * (s - now[:, None])
        count = counts[bag][:, None] + jnp.where((bag < len(layout.bags.totals))[:, None], change, 0)
        inside = (count >= 0) & (count < widths[bag][:, None])
        total += jnp.where(inside, scores[starts[bag][:, None] + jnp.where(inside, count, 0)], -jnp.inf)
    kept = cells.loose[:, None] | (s == now[:, None])
    return jnp.where(kept & (s <= many[:, None]), total, -jnp.inf)


def _beaten(structure: Structure, rank: Any, owners: np.ndarray) -> Any:
    """Mark variables that share a factor with one of another owner whose rank is not lower; rank -1 beats nobody."""
    beaten = jnp.zeros(len(rank), bool)
    for group in structure.groups:
        for i in range(group.arity):
            for j in range(group.arity):
                u, v = group.scopes[:, i], group.scopes[:, j]
                beaten = beaten.at[u].max((owners[u] != owners[v]) & (rank[v] >= jnp.maximum(rank[u], 0)))
    return beaten


@lru_cache(maxsize=64)
def _shuffled(size: int) -> np.ndarray:
    """Give ranks without an order that a graph may share."""
    return np.random.default_rng(0).permutation(size).astype(np.int32)
