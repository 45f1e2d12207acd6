"""Walk: draws of all variables of a graph, by block Gibbs from an assignment that is possible.

Law: a step leaves the measure as it is, so draws tend to it. Where all bags are simple and none share members, every
assignment with the counts is reached from every other one.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from ...laws.picks import RowPicksLaw, UniformIndexLaw
from ..model.potentials import Potentials
from ..model.structure import Structure
from .cells import layout_of
from .member_law import MemberLaw
from .redraws import across, apart, crossing, exchanged, labels_of, largest_crossing, picking, placed, together


def walked(
    structure: Structure, potentials: Potentials, start: Any, key: jax.Array, *, steps: int = 100, draws: int = 1
) -> Any:
    """Go from states to states of all variables, and keep some on the way (draws, n).

    Args:
        structure: of the graph.
        potentials: its numbers.
        start: states of positive mass (n,).
        key: of all randomness.
        steps: of each kind, between draws and before the first.
        draws: number of assignments that are kept.

    >>> from ..model.graph import FactorGraph
    >>> graph = FactorGraph()
    >>> y = graph.variables("y", shape=(2, 2))
    >>> n = graph.count("n", y)
    >>> graph, start = graph.observe({"n": [1, 2]}), jnp.array([1, 0, 1, 1, 1, 2])
    >>> walked(graph.structure, graph.potentials, start, jax.random.key(0))[0, 2:].tolist()
    [1, 1, 1, 2]
    """
    run = _walking(structure, steps, draws)
    return run(jax.tree.map(jnp.asarray, potentials), jnp.asarray(start, jnp.int32), key)


@lru_cache(maxsize=64)
def _walking(structure: Structure, steps: int, draws: int) -> Any:
    def run(potentials: Potentials, start: jax.Array, key: jax.Array) -> jax.Array:
        step = partial(stepped, structure, potentials)

        def draw(x: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            x = jax.lax.scan(lambda x, key: (step(x, key), None), x, jax.random.split(key, steps))[0]
            return x, x

        return jax.lax.scan(draw, start, jax.random.split(key, draws))[1]

    return jax.jit(run)


def stepped(structure: Structure, potentials: Potentials, x: jax.Array, key: jax.Array) -> jax.Array:
    """Make a step of each kind."""
    layout, labels, bags = layout_of(structure), jnp.asarray(labels_of(structure)), crossing(structure)
    which, *keys = jax.random.split(key, 4)
    a, b = labels[_index(which, len(labels))]
    x = drawn_apart(structure, potentials, x, keys[0], a, b)
    if any(cells.rows.shape[1] > 1 for cells in layout.cells):
        x = drawn_together(structure, potentials, x, keys[1], a, b)
    return drawn_across(structure, potentials, x, keys[2]) if len(bags) else x


def drawn_apart(
    structure: Structure, potentials: Potentials, x: jax.Array, key: jax.Array, a: Any, b: Any
) -> jax.Array:
    """Redraw variables of which no two share a factor."""
    turn, *keys = jax.random.split(key, 1 + len(layout_of(structure).cells))
    block = apart(structure, potentials, x, _index(turn, structure.size), a, b)
    ones = [
        MemberLaw(*odds.shape).draw(own, odds, weights)
        for own, odds, weights in zip(keys, block.odds, block.weights, strict=True)
    ]
    return placed(structure, block, x, ones, a, b)


def drawn_together(
    structure: Structure, potentials: Potentials, x: jax.Array, key: jax.Array, a: Any, b: Any
) -> jax.Array:
    """Redraw two variables of each cell."""
    layout = layout_of(structure)
    turn, *keys = jax.random.split(key, 1 + len(layout.cells))

    def drawn(own: jax.Array, part: int, weights: Any) -> jax.Array:
        return RowPicksLaw(*weights.shape).draw(jax.random.fold_in(own, part), jnp.asarray(weights))

    picks = [
        (drawn(own, 0, place), drawn(own, 1, other))
        for own, (place, other) in zip(keys, picking(structure), strict=True)
    ]
    pairs = together(structure, potentials, x, picks, _index(turn, layout.number), a, b)
    given = [drawn(own, 2, pair.weights) for own, pair in zip(keys, pairs, strict=True)]
    return exchanged(structure, pairs, x, given, a, b)


def drawn_across(structure: Structure, potentials: Potentials, x: jax.Array, key: jax.Array) -> jax.Array:
    """Redraw two variables of a bag that has members in cells that are not loose."""
    which, first, second, drawn = jax.random.split(key, 4)
    bag, size = _index(which, len(crossing(structure))), largest_crossing(structure)
    found = across(structure, potentials, x, bag, jnp.stack([_index(first, size), _index(second, size)]))
    return found.states[RowPicksLaw(1, len(found.scores)).draw(drawn, found.scores[None])[0]]


def _index(key: jax.Array, size: int) -> jax.Array:
    return UniformIndexLaw(size).draw(key, jnp.asarray(size, jnp.int32))
