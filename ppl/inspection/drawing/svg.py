"""SVG: the picture of a form, which a page can hold and any browser shows; no tool from elsewhere draws it.

Law: it holds the graph of `to_dot`: every site, factor and named value once, every direct dependence once. Names are
text, never markup, and equal Forms give equal text in every process. No two vertices overlap, and a box encloses its
own vertices and no others.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...addresses import Address
from ...form import Form
from ...form.dependence import Box, Dependence, Vertex, dependence
from .graph_text import box_title, drawable, marks

HEIGHT, SQUARE = 36.0, 12.0
LETTER = 6.6  # width of a letter, on the average
LONGEST = 30  # letters of a name that are shown
SPREAD = 26.0  # room beside a vertex for the arrow to its own next step
BORDER = 8.0
GAP, ROW_GAP = 22.0, 34.0  # between neighbours of a row, and between rows
EDGE, TITLE = 14.0, 18.0  # inside a box: room on each side, and for its title
WIDEST = 960.0  # a row that is wider is broken
SWEEPS = 4  # over the rows, to bring vertices near those that they read


def to_svg(form: Form) -> str:
    """Draw the graph of sites, factors and named values as SVG.

    Observed sites are filled, latent ones empty, named values dashed, factors small squares; plates and loops are boxes
    with their size; a dashed arrow is read in a later step of a loop.

    >>> import numpyro.distributions as dist, lawful
    >>> picture = to_svg(lawful.trace(lambda: lawful.sample("x", dist.Normal(0.0, 1.0))))
    >>> picture.count("<ellipse"), "<tspan" in picture
    (1, True)
    """
    found = dependence(form, named=True)
    boxed = drawable(found)
    turning = {tail for tail, head in found.edges if tail == head}
    labels = {address: _label(vertex, vertex.name + marks(vertex, boxed)) for address, vertex in found.vertices.items()}
    own = {address: _size(found.vertices[address], lines) for address, lines in labels.items()}
    room = {address: _room(found.vertices[address], labels[address], address in turning) for address in own}
    placed = layout(found, room, boxed)
    shapes = {a: Rectangle(place.x, place.y, *own[a]) for a, place in placed.vertices.items()}
    width, height = (side + 2 * BORDER for side in (placed.width, placed.height))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="the model as a graph" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="{-BORDER:.0f} {-BORDER:.0f} {width:.0f} {height:.0f}" '
        'style="max-width:100%;height:auto" font-family="sans-serif" font-size="12" text-anchor="middle" fill="none" '
        'stroke="#333">'
    ]
    for box, place in placed.boxes:
        left, top = place.x - place.width / 2, place.y - place.height / 2
        right, bottom = left + place.width - 8, top + place.height - 7
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{place.width:.1f}" height="{place.height:.1f}" rx="6" '
            f'stroke="#999"/><text x="{right:.1f}" y="{bottom:.1f}" text-anchor="end" fill="#555" stroke="none">'
            f"{html.escape(_short(box_title(box)))}</text>"
        )
    parts += [_arrow(shapes[a], shapes[b], carried) for (a, b), carried in found.edges.items()]
    parts += [_vertex(vertex, shapes[address], labels[address]) for address, vertex in found.vertices.items()]
    return "".join([*parts, "</svg>"])


def _label(vertex: Vertex, name: str) -> list[str]:
    law = [vertex.label] if vertex.kind == "sample" else []
    return [_short(line) for line in (name, *law)]


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _size(vertex: Vertex, lines: list[str]) -> tuple[float, float]:
    if vertex.kind == "factor":
        return SQUARE, SQUARE
    return max(44.0, LETTER * max(map(len, lines)) + 26), HEIGHT if len(lines) > 1 else 28.0


def _room(vertex: Vertex, lines: list[str], turning: bool) -> tuple[float, float]:
    """Say what a vertex takes up: the name of a factor stands beside it."""
    width, height = _size(vertex, lines)
    if vertex.kind == "factor":
        width += 2 * (LETTER * len(lines[0]) + 6)
    return width + (2 * SPREAD if turning else 0.0), height


def _vertex(vertex: Vertex, place: Rectangle, lines: list[str]) -> str:
    x, y, half = place.x, place.y, place.width / 2
    title = f"<title>{html.escape(vertex.name)}</title>"
    if vertex.kind == "factor":
        return (
            f'<g>{title}<rect x="{x - half:.1f}" y="{y - half:.1f}" width="{SQUARE:g}" height="{SQUARE:g}" '
            f'fill="#333"/><text x="{x + half + 5:.1f}" y="{y + 4:.1f}" text-anchor="start" fill="#222" '
            f'stroke="none">{html.escape(lines[0])}</text></g>'
        )
    fill = "#d5d5d5" if vertex.observed else "#fff"
    dash = ' stroke-dasharray="4 3"' if vertex.kind == "deterministic" else ""
    spans = "".join(
        f'<tspan x="{x:.1f}" y="{y + 4 + (k - (len(lines) - 1) / 2) * 14:.1f}"{_pale(k)}>{html.escape(line)}</tspan>'
        for k, line in enumerate(lines)
    )
    return (
        f'<g>{title}<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{half:.1f}" ry="{place.height / 2:.1f}" '
        f'fill="{fill}"{dash}/>'
        f'<text fill="#222" stroke="none">{spans}</text></g>'
    )


def _pale(line: int) -> str:
    return ' fill="#666" font-size="10"' if line else ""


def _arrow(tail: Rectangle, head: Rectangle, carried: bool) -> str:
    """Draw an arrow: a curve downwards, a straight line elsewhere, and a turn from a vertex to itself."""
    dash = ' stroke-dasharray="4 3"' if carried else ""
    if tail == head:
        x, y, far = tail.x + 0.42 * tail.width, 0.3 * tail.height, tail.x + tail.width / 2 + SPREAD
        curve = f"M{x:.1f} {tail.y - y:.1f}C{far:.1f} {tail.y - 2.6 * y:.1f} {far:.1f} {tail.y + 2.6 * y:.1f} "
        return f'<path d="{curve}{x:.1f} {tail.y + y:.1f}"{dash}/>{_point(x, tail.y + y, -1.0, -0.55)}'
    start, end = tail.y + tail.height / 2, head.y - head.height / 2
    if end > start:
        middle = (start + end) / 2
        curve = f"M{tail.x:.1f} {start:.1f}C{tail.x:.1f} {middle:.1f} {head.x:.1f} {middle:.1f} {head.x:.1f} {end:.1f}"
        return f'<path d="{curve}"{dash}/>{_point(head.x, end, 0.0, 1.0)}'
    dx, dy = head.x - tail.x, head.y - tail.y
    length = math.hypot(dx, dy)
    inside = 1 / math.hypot(2 * dx / head.width, 2 * dy / head.height)
    x, y = head.x - inside * dx, head.y - inside * dy
    line = f"M{tail.x:.1f} {tail.y:.1f}L{x:.1f} {y:.1f}"
    return f'<path d="{line}"{dash}/>{_point(x, y, dx / length, dy / length)}'


def _point(x: float, y: float, dx: float, dy: float) -> str:
    """Draw the point of an arrow that arrives in a direction."""
    back = [(x - 7 * dx + side * dy, y - 7 * dy - side * dx) for side in (3.0, -3.0)]
    corners = " ".join(f"{a:.1f},{b:.1f}" for a, b in ((x, y), *back))
    return f'<polygon points="{corners}" fill="#333" stroke="none"/>'


# Where the vertices stand: in rows from causes to effects, boxes within boxes.


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
