"""Schedules: in which order the messages of a sweep are sent.

"flooding" sends all at once, "residual" those that would change most, and "tree" gives each message from a factor to a
variable its turn. Messages of one turn are sent at once, from what those before them have left.

Law: every message has a turn, and none reads another one of its turn, so a turn may be taken apart. All schedules
therefore have the fixed points of the update. On a forest one sweep of "tree" ends there.

Reference: Pearl (1988), Probabilistic reasoning in intelligent systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components

from lawful.errors import LawfulError

from ..model.structure import Structure
from .messages import Messages, Net

SCHEDULES = ("auto", "flooding", "residual", "tree")


@dataclass(frozen=True, eq=False)
class Ends:
    """The messages of a net: all of the first block's first axis, those of its second axis, and so on.

    Attributes:
        structure: of the graph.
        factor: number of the factor that sends each message, among those of the blocks (E,).
        variable: number of the variable that receives it (E,).
    """

    structure: Structure
    factor: np.ndarray
    variable: np.ndarray


def schedule_of(structure: Structure, asked: str) -> str:
    """Check a schedule; "auto" is "tree" on a forest, else "flooding"."""
    if asked not in SCHEDULES:
        raise LawfulError(f"schedule: expected one of {', '.join(SCHEDULES)}, got {asked!r}.")
    return ("tree" if structure.is_forest else "flooding") if asked == "auto" else asked


def ends_of(net: Net) -> Ends:
    """List the messages of a net."""
    factor, variable, begun = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    for block in net.blocks:
        own = [net.structure.groups[part.group] for part in block.parts]
        for axis in range(len(block.cardinalities)):
            factor.append(begun + np.arange(block.size))
            variable += [g.scopes[:, part.order[axis]] for g, part in zip(own, block.parts, strict=True)]
        begun += block.size
    return Ends(net.structure, np.concatenate(factor), np.concatenate(variable))


def turns_of(ends: Ends) -> np.ndarray:
    """Give the turns (E,) on a forest: from the leaves to the middle of each part, and back.

    A factor sends to the variable before it once it has heard from those behind.

    Raises: LawfulError where the graph has a cycle.
    """
    if not ends.structure.is_forest:
        raise LawfulError(
            "schedule='tree': the graph has a cycle, so no order of messages is exact. Fix: schedule='flooding' or "
            "'residual'."
        )
    size, parts = ends.structure.size, _parts(ends)
    far = _largest(_walked(ends, np.unique(parts, return_index=True)[1])[0][:size], parts)
    depth, before, _ = _walked(ends, far)
    middle = []
    for end in _largest(depth[:size], parts).tolist():  # half of a longest path back, to a variable
        for _ in range(int(depth[end]) // 4 * 2):
            end = int(before[end])
        middle.append(end)
    depth, before, _ = _walked(ends, np.array(middle, np.int64))
    sender = size + ends.factor
    inward = before[sender] == ends.variable
    return np.where(inward, -depth[sender], depth[sender]) + int(depth.max(initial=0))


def most_changed(new: Messages, old: Messages, moved: Sequence[Sequence[Any]], share: float) -> Messages:
    """Take the new message where the change is among the largest."""
    every = jnp.concatenate([m.reshape(-1) for group in moved for m in group])
    least = jax.lax.top_k(every, max(1, int(share * every.size)))[0][-1]
    return tuple(
        tuple(jnp.where((m >= least)[None], a, b) for a, b, m in zip(*triple, strict=True))
        for triple in zip(new, old, moved, strict=True)
    )


def _parts(ends: Ends) -> np.ndarray:
    """Number the parts that hang together, for each variable."""
    whole = _joined(ends, np.zeros(0, np.int64))
    return np.asarray(connected_components(whole, directed=False)[1][: ends.structure.size])


def _largest(depth: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Give for each part the variable of the largest depth."""
    order = np.lexsort((depth, parts))
    return order[np.append(np.diff(parts[order]) > 0, True)] if len(parts) else order


def _joined(ends: Ends, roots: np.ndarray) -> coo_matrix:
    """Give the graph of variables, factors behind them, and one vertex more that is joined to the roots."""
    size = ends.structure.size
    number = size + int(ends.factor.max(initial=-1)) + 2
    one, other = np.append(ends.variable, roots), np.append(size + ends.factor, np.full(len(roots), number - 1))
    return coo_matrix((np.ones(len(one)), (one, other)), shape=(number, number))


def _walked(ends: Ends, roots: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Walk away from roots: the distance of each vertex, the vertex before it, and the vertices in order."""
    whole = _joined(ends, roots).tocsr()
    order, before = breadth_first_order(whole, whole.shape[0] - 1, directed=False)
    depth = [0] * whole.shape[0]
    depth[int(order[0])] = -1
    previous = before.tolist()
    for vertex in order[1:].tolist():
        depth[vertex] = depth[previous[vertex]] + 1
    return np.array(depth), before, order[1:]
