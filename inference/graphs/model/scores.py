"""Scores: all numbers of a factor graph in one vector, each table with its largest entry at zero.

Law: the entries of an assignment, and the level, sum to its log score. So scores that are large cost no digits, and one
array, which does not change with what is observed, goes to a compiled program.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .evidence import traced
from .places import Places
from .potentials import Potentials
from .structure import Structure


class Scores(NamedTuple):
    """What an elimination starts from.

    Attributes:
        entries: scores of all variables, one after the other, then the tables of all factors of each group (E,).
        level: what was taken out of the tables, in all.
    """

    entries: Any
    level: Any


def scores_of(structure: Structure, potentials: Potentials) -> Scores:
    """Put the numbers of a graph in a row; by NumPy where they are known.

    >>> from .structure import Family
    >>> structure = Structure((Family("z", (2,), 2, 0),), ())
    >>> scores_of(structure, Potentials((np.array([[1.0, 3.0], [-np.inf, 5.0]]),), ()))
    Scores(entries=array([ -2.,   0., -inf,   0.]), level=np.float64(8.0))
    """
    arrays = (*potentials.unary, *potentials.tables)
    dtype = jnp.result_type(*arrays) if arrays else jnp.result_type(float)
    xp = jnp if any(map(traced, arrays)) else np
    counts = [*(family.size for family in structure.families), *(group.size for group in structure.groups)]
    entries, level = [xp.zeros(0, dtype)], xp.zeros((), dtype)
    for array, count in zip(arrays, counts, strict=True):
        if count:
            rows = xp.asarray(array, dtype).reshape((len(array), -1))
            top = top_of(rows, xp)
            entries.append(xp.broadcast_to(rows - top, (count, rows.shape[1])).reshape(-1))
            level = level + xp.sum(top) * (count // len(array))
    return Scores(xp.concatenate(entries), level)


def observed(places: Places, scores: Scores, seen: Any) -> Scores:
    """Exclude the states that were not observed.

    Args:
        places: where the scores stand.
        scores: of a graph.
        seen: state of each variable by number, -1 where nothing was observed (n,).
    """
    xp = np if isinstance(scores.entries, np.ndarray) and isinstance(seen, np.ndarray) else jnp
    known, count = seen >= 0, len(places.owner)
    own, place = scores.entries[:count], places.first + seen
    top = xp.where(known, xp.take(own, place, mode="clip"), 0)
    top = constant(xp.where(xp.isfinite(top), top, 0).astype(own.dtype))
    out = xp.take(known, places.owner) & (xp.take(place, places.owner) != xp.arange(count, dtype=place.dtype))
    entries = xp.where(out, -xp.inf, own - xp.take(top, places.owner))
    return Scores(xp.concatenate([entries, scores.entries[count:]]), scores.level + xp.sum(top))


def top_of(rows: Any, xp: Any) -> Any:
    """Give the largest entry of each row (B, 1, *lanes), without a gradient; zero where none is finite."""
    top = xp.max(rows, axis=1, keepdims=True)
    return constant(xp.where(xp.isfinite(top), top, xp.zeros_like(top)))


def constant(value: Any) -> Any:
    """Stop the gradient; what takes out a level or puts it back has none."""
    return value if isinstance(value, np.ndarray | np.generic) else jax.lax.stop_gradient(value)
