"""Schedules: in which order the messages of a sweep are sent.

A schedule is a list of passes, and a pass gives each message from a factor to a variable its turn, -1 where it is not
sent. Messages of one turn are sent at once, from what those before them have left.

Law: every message has a turn in some pass, and none reads another one of its turn, so a turn may be taken apart. All
schedules therefore have the fixed points of the update. On a forest one sweep of "tree" or "spanning_trees" ends there.

Reference: Pearl (1988), Probabilistic reasoning in intelligent systems, for trees; Wainwright, Jaakkola and Willsky
(2003), Tree-based reparameterization framework, for covering trees in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components

from lawful.errors import LawfulError

from ..model.structure import Structure
from .counting import random_forests
from .messages import Net


@dataclass(frozen=True, eq=False)
class Ends:
    """The messages of a net: all of the first block's first axis, those of its second axis, and so on.

    Attributes:
        structure: of the graph.
        factor: number of the factor that sends each message, among those of the blocks (E,).
        variable: number of the variable that receives it (E,).
        groups: for each block, the number of the group of each of its factors, and its number there (2, G).
    """

    structure: Structure
    factor: np.ndarray
    variable: np.ndarray
    groups: tuple[np.ndarray, ...]

    def only(self, chosen: np.ndarray) -> Ends:
        """Leave the messages that are chosen (E,)."""
        return Ends(self.structure, self.factor[chosen], self.variable[chosen], self.groups)


def ends_of(net: Net) -> Ends:
    """List the messages of a net."""
    factor, variable, groups, begun = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [], 0
    for block in net.blocks:
        own = [net.structure.groups[part.group] for part in block.parts]
        for axis in range(len(block.cardinalities)):
            factor.append(begun + np.arange(block.size))
            variable += [g.scopes[:, part.order[axis]] for g, part in zip(own, block.parts, strict=True)]
        begun += block.size
        numbers = [np.stack([np.full(part.size, part.group), np.arange(part.size)]) for part in block.parts]
        groups.append(np.concatenate(numbers, axis=1))
    return Ends(net.structure, np.concatenate(factor), np.concatenate(variable), tuple(groups))


def passes_of(schedule: str, ends: Ends) -> list[np.ndarray]:
    """Give the passes of a schedule, each the turns of all messages (E,).

    Raises: LawfulError where the graph is not of the kind that the schedule is for.
    """
    return _MAKERS[schedule](ends)


def tree(ends: Ends) -> list[np.ndarray]:
    """Send from the leaves to the middle of each part, and back, on a forest."""
    if not ends.structure.is_forest:
        raise LawfulError(
            "schedule='tree': the graph has a cycle, so no order of messages is exact. Fix: schedule='spanning_trees', "
            "'colour' or 'flooding'."
        )
    return [_inward_and_outward(ends)]


def spanning_trees(ends: Ends) -> list[np.ndarray]:
    """Send to and fro in forests that together hold every factor, one after the other."""
    return [
        _spread(_inward_and_outward(ends.only(kept)), kept)
        for forest in random_forests(ends.structure, count=0)
        if (kept := _within(ends, forest)).any()
    ]


def colour(ends: Ends) -> list[np.ndarray]:
    """Send to the variables of one colour after the other, where those of a factor differ: two colours for grids."""
    return [_colours(ends)[ends.variable]] if len(ends.variable) else []


def grid(ends: Ends) -> list[np.ndarray]:
    """Send along each axis of the arrays of variables, forward and backward; what is left goes by colours.

    Raises: LawfulError where no factor joins two variables that differ in one index of their array.
    """
    return _along_axes(ends, "grid", most=None)


def chain(ends: Ends) -> list[np.ndarray]:
    """Send along the only axis of the arrays along which variables are joined.

    Raises: LawfulError where there is none, or another one.
    """
    return _along_axes(ends, "chain", most=1)


_MAKERS: dict[str, Callable[[Ends], list[np.ndarray]]] = {
    "tree": tree, "chain": chain, "grid": grid, "colour": colour, "spanning_trees": spanning_trees,
}  # fmt: skip
SCHEDULES = tuple(_MAKERS)


def _spread(turns: np.ndarray, kept: np.ndarray) -> np.ndarray:
    whole = np.full(len(kept), -1)
    whole[kept] = turns
    return whole


def _within(ends: Ends, forest: list[np.ndarray]) -> np.ndarray:
    """Tell which messages are of factors in a forest, given by masks of the groups."""
    held = [np.zeros(0, bool)]
    for block in ends.groups:
        mask = np.zeros(block.shape[1], bool)
        for number in np.unique(block[0]).tolist():
            own = block[0] == number
            mask[own] = forest[number][block[1, own]]
        held.append(mask)
    return np.concatenate(held)[ends.factor]


def _inward_and_outward(ends: Ends) -> np.ndarray:
    """Give the turns on a forest: a factor sends to the variable before it once it has heard from those behind."""
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


def _colours(ends: Ends) -> np.ndarray:
    """Colour the variables by the least colour that no neighbour has, each part from one variable outwards.

    In that order two colours are enough where two are possible at all.
    """
    size = ends.structure.size
    order = _walked(ends, np.unique(_parts(ends), return_index=True)[1])[2]
    members: list[list[int]] = [[] for _ in range(int(ends.factor.max(initial=-1)) + 1)]
    touching: list[list[int]] = [[] for _ in range(size)]
    for factor, variable in zip(ends.factor.tolist(), ends.variable.tolist(), strict=True):
        members[factor].append(variable)
        touching[variable].append(factor)
    colours = [-1] * size
    for variable in order[order < size].tolist():
        taken = {colours[other] for factor in touching[variable] for other in members[factor]}
        colours[variable] = next(c for c in range(size) if c not in taken)
    return np.array(colours)


def _along_axes(ends: Ends, schedule: str, most: int | None) -> list[np.ndarray]:
    """Give a pass forward and one backward for each axis along which pairs are joined, and one for other factors."""
    axis, place = _steps(ends)
    axes = sorted(set(axis[axis >= 0].tolist()))
    if not axes or (most is not None and len(axes) > most):
        raise LawfulError(
            f"schedule={schedule!r}: expected factors that join pairs of variables along "
            f"{'one axis' if most else 'an axis'} of their array, found axes {axes or 'none'}. Fix: "
            + ("schedule='grid'." if axes else "schedule='colour' or 'flooding'.")
        )
    passes = []
    for along in axes:
        ahead = (axis == along) & (place > 0)
        behind = (axis == along) & (place < 0)
        passes += [np.where(ahead, place, -1), np.where(behind, place - place.min(), -1)]
    others = axis < 0
    return passes + [_spread(turns, others) for turns in colour(ends.only(others))]


def _steps(ends: Ends) -> tuple[np.ndarray, np.ndarray]:
    """Give for each message of a pair that differs in one index: which one, and how far along, negative backward."""
    structure = ends.structure
    axis, place = np.full(len(ends.factor), -1), np.zeros(len(ends.factor), np.int64)
    order = np.argsort(ends.factor, kind="stable")
    count = np.bincount(ends.factor, minlength=1)[ends.factor[order]]
    pairs = order[count == 2].reshape((-1, 2))
    for family in structure.families:
        if not family.shape or not family.size:
            continue
        numbers = ends.variable[pairs] - family.offset
        own = pairs[((numbers >= 0) & (numbers < family.size)).all(axis=1)]
        at = np.stack(np.unravel_index(ends.variable[own] - family.offset, family.shape), axis=-1)
        step = at[:, 1] - at[:, 0]
        single = np.count_nonzero(step, axis=1) == 1
        own, at, step = own[single], at[single], step[single]
        along = np.argmax(step != 0, axis=1)
        rows = np.arange(len(own))
        forward = step[rows, along] > 0
        for side in (0, 1):
            ahead = forward if side else ~forward
            axis[own[:, side]] = along
            behind = -1 - at[rows, side, along]
            place[own[:, side]] = np.where(ahead, at[rows, side, along], behind)
    return axis, place
