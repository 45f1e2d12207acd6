"""Layout: where the vertices of a picture stand, in rows from causes to effects, boxes within boxes.

Law: no two vertices overlap, and a box encloses its own vertices and no others. Equal graphs have equal layouts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...addresses import Address
from ...form.dependence import Box, Dependence

GAP, ROW_GAP = 22.0, 34.0  # between neighbours of a row, and between rows
EDGE, TITLE = 14.0, 18.0  # inside a box: room on each side, and for its title
WIDEST = 960.0  # a row that is wider is broken
SWEEPS = 4  # over the rows, to bring vertices near those that they read


@dataclass(frozen=True)
class Rectangle:
    """A rectangle by its centre."""

    x: float
    y: float
    width: float
    height: float

    def moved(self, x: float, y: float) -> Rectangle:
        """Move it."""
        return Rectangle(self.x + x, self.y + y, self.width, self.height)


@dataclass
class Block:
    """A laid out part of a picture, its upper left corner at the origin."""

    width: float
    height: float
    vertices: dict[Address, Rectangle] = field(default_factory=dict)
    boxes: list[tuple[Box, Rectangle]] = field(default_factory=list)

    def take(self, part: Block, x: float, y: float) -> None:
        """Put a part at a place."""
        self.vertices |= {address: place.moved(x, y) for address, place in part.vertices.items()}
        self.boxes += [(box, place.moved(x, y)) for box, place in part.boxes]


@dataclass
class _Group:
    """The vertices and the boxes in a box, in the order of evaluation."""

    box: Box | None
    items: list[Address | _Group] = field(default_factory=list)

    def inside(self, box: Box) -> _Group:
        for item in self.items:
            if isinstance(item, _Group) and item.box == box:
                return item
        self.items.append(made := _Group(box))
        return made


def layout(
    found: Dependence, sizes: Mapping[Address, tuple[float, float]], drawn: Callable[[Box], bool] = lambda box: True
) -> Block:
    """Lay out a graph.

    Args:
        found: the graph.
        sizes: width and height of each vertex.
        drawn: which of its boxes are drawn.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful.form.dependence import dependence
    >>> def chain():
    ...     lawful.sample("y", dist.Normal(lawful.sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=0.0)
    >>> placed = layout(dependence(lawful.trace(chain)), {("x",): (40.0, 20.0), ("y",): (60.0, 20.0)})
    >>> [(place.x, place.y) for place in placed.vertices.values()], placed.width, placed.height
    ([(30.0, 10.0), (30.0, 64.0)], 60.0, 74.0)
    """
    root = _Group(None)
    for address, vertex in found.vertices.items():
        group = root
        for box in filter(drawn, vertex.boxes):
            group = group.inside(box)
        group.items.append(address)
    return _arranged(root, sizes, list(found.edges))


def _arranged(
    group: _Group, sizes: Mapping[Address, tuple[float, float]], edges: Sequence[tuple[Address, Address]]
) -> Block:
    parts = []
    for item in group.items:
        if isinstance(item, _Group):
            parts.append(_arranged(item, sizes, edges))
        else:
            width, height = sizes[item]
            parts.append(Block(width, height, {item: Rectangle(width / 2, height / 2, width, height)}))
    home = {address: k for k, part in enumerate(parts) for address in part.vertices}
    inner = {(home[a], home[b]) for a, b in edges if a in home and b in home}
    arrows = sorted((a, b) for a, b in inner if a < b)  # by the order of evaluation, so without a cycle
    rows = [row for level in _sorted_rows(len(parts), arrows) for row in _broken(level, parts)]
    widths = [sum(parts[k].width for k in row) + GAP * (len(row) - 1) for row in rows]
    margin, title = (EDGE, TITLE) if group.box is not None else (0.0, 0.0)
    whole = Block(max(widths, default=0.0) + 2 * margin, 0.0)
    y = margin
    for row, width in zip(rows, widths, strict=True):
        tallest = max(parts[k].height for k in row)
        x = (whole.width - width) / 2
        for k in row:
            whole.take(parts[k], x, y + (tallest - parts[k].height) / 2)
            x += parts[k].width + GAP
        y += tallest + ROW_GAP
    whole.height = y - (ROW_GAP if rows else 0.0) + title + margin / 2
    if group.box is not None:
        outline = Rectangle(whole.width / 2, whole.height / 2, whole.width, whole.height)
        whole.boxes.insert(0, (group.box, outline))  # an outer box is drawn before those inside it
    return whole


def _sorted_rows(count: int, arrows: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Give each part a row below all that it reads, right above the first that reads it, and sort the rows."""
    level = [0] * count
    for a, b in sorted(arrows, key=lambda arrow: arrow[1]):
        level[b] = max(level[b], level[a] + 1)
    for a in reversed(range(count)):
        below = [level[b] for tail, b in arrows if tail == a]
        if below:
            level[a] = min(below) - 1
    rows = [[k for k in range(count) if level[k] == depth] for depth in range(max(level, default=-1) + 1)]
    rows = [row for row in rows if row]
    near: dict[int, list[int]] = {k: [] for k in range(count)}
    for a, b in arrows:
        near[a].append(b)
        near[b].append(a)
    place = _places(rows)
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            row.sort(key=lambda k: sum(place[n] for n in near[k]) / len(near[k]) if near[k] else place[k])
            place |= _places([row])
    return rows


def _places(rows: Iterable[Sequence[int]]) -> dict[int, float]:
    """Number the parts of each row from its middle."""
    return {k: position - (len(row) - 1) / 2 for row in rows for position, k in enumerate(row)}


def _broken(row: Sequence[int], parts: Sequence[Block]) -> list[list[int]]:
    """Break a row that is too wide."""
    ends = itertools.accumulate(parts[k].width + GAP for k in row)
    lines: dict[int, list[int]] = {}
    for k, end in zip(row, ends, strict=True):
        lines.setdefault(int((end - GAP) // WIDEST) if len(row) > 1 else 0, []).append(k)
    return list(lines.values())
