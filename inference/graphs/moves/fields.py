"""Fields: what the score of an assignment would be, were one variable in another state, while all others stay.

Law: the score of an assignment is a sum over variables and factors. Where one variable changes from state a to b, and
no count with it, the score changes by its field of b less that of a. A sum with exclusions is a pair, of its finite
part and of how many terms exclude it, so that differences of two that are excluded are known as well.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..model.potentials import Potentials, traced
from ..model.structure import Structure
from .cells import layout_of


class Pairs(NamedTuple):
    """The numbers of a graph, the last axis a finite score and 1 where it is an exclusion.

    Attributes:
        unary: of the variables that hold no count, for as many states as they have at most (n, K, 2).
        tables: for each group (G or 1, K_1, ..., K_r, 2).
    """

    unary: Any
    tables: tuple[Any, ...]


def pairs_of(structure: Structure, potentials: Potentials) -> Pairs:
    """Write the numbers of a graph as pairs; by NumPy where they are known."""
    arrays = (*potentials.unary, *potentials.tables)
    xp: Any = jnp if any(map(traced, arrays)) else np
    free = layout_of(structure).owners >= 0
    most = int(structure.cardinalities[free].max(initial=1))
    rows = []
    for family, scores in zip(structure.families, potentials.unary, strict=True):
        if not family.size:
            continue
        kept = xp.asarray(scores)[:, :most]  # of what holds a count nothing is read
        rows.append(xp.pad(kept, ((0, 0), (0, most - kept.shape[1])), constant_values=-np.inf))
    unary = xp.concatenate(rows) if rows else np.zeros((0, most))
    return Pairs(paired(unary, xp), tuple(paired(xp.asarray(table), xp) for table in potentials.tables))


def paired(scores: Any, xp: Any) -> Any:
    """Split scores into their finite part and whether they exclude."""
    out = xp.isneginf(scores)
    return xp.stack([xp.where(out, xp.zeros_like(scores), scores), out.astype(scores.dtype)], axis=-1)


def own_scores(structure: Structure, potentials: Potentials) -> Any:
    """Give the scores of all variables, factors of one variable included, one variable after the other.

    >>> from ..model.graph import FactorGraph
    >>> graph = FactorGraph()
    >>> z = graph.variables("z", shape=(2,), log_potential=[0.0, 1.0])
    >>> graph.factors("first", [z[:1]], [[0.5, 0.25]])
    >>> own_scores(graph.structure, graph.potentials).tolist()
    [0.5, 1.25, 0.0, 1.0]
    """
    arrays = (*potentials.unary, *potentials.tables)
    xp: Any = jnp if any(map(traced, arrays)) else np
    found = xp.concatenate([np.zeros(0), *(xp.asarray(u).reshape(-1) for u in potentials.unary)])
    starts = np.cumsum([0, *structure.cardinalities.tolist()])
    for group, tables in zip(structure.groups, potentials.tables, strict=True):
        if group.arity == 1:
            place = starts[group.scopes] + np.arange(group.cardinalities[0])
            own = xp.broadcast_to(xp.asarray(tables), place.shape)
            if xp is np:
                np.add.at(found, place, own)
            else:
                found = found.at[place].add(own)
    return found


def fields(structure: Structure, pairs: Pairs, x: Any) -> Any:
    """Give the field of each variable that holds no count, for each state, as pairs (n, K, 2).

    Args:
        structure: of the graph.
        pairs: its numbers.
        x: states of all variables (n,), of NumPy or of JAX.

    >>> from ..model.graph import FactorGraph
    >>> graph = FactorGraph()
    >>> z = graph.variables("z", shape=(2,), log_potential=[0.0, 1.0])
    >>> graph.factors("unlike", [z[:1], z[1:]], [[-np.inf, 0.0], [0.0, 2.0]])
    >>> fields(graph.structure, pairs_of(graph.structure, graph.potentials), np.array([0, 1]))[..., 0].tolist()
    [[0.0, 3.0], [0.0, 1.0]]
    """
    xp: Any = np if isinstance(x, np.ndarray) and isinstance(pairs.unary, np.ndarray) else jnp
    free = layout_of(structure).owners >= 0
    total = xp.array(pairs.unary)
    for group, tables in zip(structure.groups, pairs.tables, strict=True):
        for axis, card in enumerate(group.cardinalities):
            own = np.flatnonzero(free[group.scopes[:, axis]])
            if not len(own):
                continue
            scopes = group.scopes[own]
            others = [x[scopes[:, k]] for k in range(group.arity) if k != axis]
            place = np.zeros(len(own), np.int32) if group.shared else own
            given = xp.moveaxis(xp.asarray(tables), axis + 1, -2)[(place, *others)]
            if xp is np:
                np.add.at(total[:, :card], scopes[:, axis], given)
            else:
                total = total.at[scopes[:, axis], :card].add(given)
    return total
