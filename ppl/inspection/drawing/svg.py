"""SVG: the picture of a form, which a page can hold and any browser shows; no tool from elsewhere draws it.

Law: it holds the graph of `to_dot`: every site, factor and named value once, every direct dependence once. Names are
text, never markup, and equal Forms give equal text in every process. No two vertices overlap, and a box encloses its
own vertices and no others.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from ...addresses import Address
from ...form import Form
from ...form.dependence import Box, Dependence, Vertex, dependence
from ...late import networkx
from .graph_text import Group, box_title, drawable, grouped, marked

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
    texts = {a: (marked(v, boxed), *([v.label] if v.kind == "sample" else [])) for a, v in found.vertices.items()}
    labels = {address: [_short(line) for line in lines] for address, lines in texts.items()}
    own = {address: _size(vertex, labels[address]) for address, vertex in found.vertices.items()}
    placed = layout(found, {a: _room(v, labels[a], (a, a) in found.edges) for a, v in found.vertices.items()})
    shapes = {a: Rectangle(placed.places[a].x, placed.places[a].y, *own[a]) for a in own}
    width, height = (side + 2 * BORDER for side in (placed.width, placed.height))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="the model as a graph" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="{-BORDER:.0f} {-BORDER:.0f} {width:.0f} {height:.0f}" '
        'style="max-width:100%;height:auto" font-family="sans-serif" font-size="12" text-anchor="middle" fill="none" '
        'stroke="#333">'
    ]
    parts += [_outline(box, place) for box, place in placed.places.items() if isinstance(box, Box)]
    parts += [_arrow(shapes[a], shapes[b], carried) for (a, b), carried in found.edges.items()]
    parts += [_vertex(vertex, shapes[address], labels[address]) for address, vertex in found.vertices.items()]
    return "".join([*parts, "</svg>"])


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


def _outline(box: Box, place: Rectangle) -> str:
    left, top = place.x - place.width / 2, place.y - place.height / 2
    right, bottom = left + place.width - 8, top + place.height - 7
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{place.width:.1f}" height="{place.height:.1f}" rx="6" '
        f'stroke="#999"/><text x="{right:.1f}" y="{bottom:.1f}" text-anchor="end" fill="#555" stroke="none">'
        f"{html.escape(_short(box_title(box)))}</text>"
    )


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
        f'<tspan x="{x:.1f}" y="{y + 4 + (k - (len(lines) - 1) / 2) * 14:.1f}"{pale}>{html.escape(line)}</tspan>'
        for k, (line, pale) in enumerate(zip(lines, ("", ' fill="#666" font-size="10"'), strict=False))
    )
    return (
        f'<g>{title}<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{half:.1f}" ry="{place.height / 2:.1f}" '
        f'fill="{fill}"{dash}/>'
        f'<text fill="#222" stroke="none">{spans}</text></g>'
    )


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


@dataclass
class Block:
    """A laid out part of a picture, its upper left corner at the origin; a box stands before what is in it."""

    width: float
    height: float
    places: dict[Address | Box, Rectangle]


def layout(found: Dependence, sizes: Mapping[Address, tuple[float, float]]) -> Block:
    """Lay out a graph, given width and height of each vertex.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful.form.dependence import dependence
    >>> def chain():
    ...     lawful.sample("y", dist.Normal(lawful.sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=0.0)
    >>> placed = layout(dependence(lawful.trace(chain)), {("x",): (40.0, 20.0), ("y",): (60.0, 20.0)})
    >>> [(place.x, place.y) for place in placed.places.values()], placed.width, placed.height
    ([(30.0, 10.0), (30.0, 64.0)], 60.0, 74.0)
    """
    return _arranged(grouped(found), sizes, list(found.edges))


def _arranged(
    item: Vertex | Group, sizes: Mapping[Address, tuple[float, float]], edges: Sequence[tuple[Address, Address]]
) -> Block:
    if isinstance(item, Vertex):
        width, height = sizes[item.address]
        return Block(width, height, {item.address: Rectangle(width / 2, height / 2, width, height)})
    parts = [_arranged(part, sizes, edges) for part in item.items]
    home = {place: k for k, part in enumerate(parts) for place in part.places}
    inner = {(home[a], home[b]) for a, b in edges if a in home and b in home}
    arrows = sorted((a, b) for a, b in inner if a < b)  # by the order of evaluation, so without a cycle
    rows = [row for level in _sorted_rows(len(parts), arrows) for row in _broken(level, parts)]
    widths = [sum(parts[k].width for k in row) + GAP * (len(row) - 1) for row in rows]
    margin, title = (0.0, 0.0) if item.box is None else (EDGE, TITLE)
    width, y, places = max(widths, default=0.0) + 2 * margin, margin, dict[Address | Box, Rectangle]()
    for row, long in zip(rows, widths, strict=True):
        tallest = max(parts[k].height for k in row)
        x = (width - long) / 2
        for k in row:
            down = y + (tallest - parts[k].height) / 2
            places |= {own: replace(at, x=at.x + x, y=at.y + down) for own, at in parts[k].places.items()}
            x += parts[k].width + GAP
        y += tallest + ROW_GAP
    height = y - (ROW_GAP if rows else 0.0) + title + margin / 2
    outline: dict[Address | Box, Rectangle]
    outline = {} if item.box is None else {item.box: Rectangle(width / 2, height / 2, width, height)}
    return Block(width, height, outline | places)


def _sorted_rows(count: int, arrows: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Give each part a row below all that it reads, right above the first that reads it, and sort the rows."""
    graph = networkx.DiGraph(arrows)
    graph.add_nodes_from(range(count))
    level = {k: depth for depth, row in enumerate(networkx.topological_generations(graph)) for k in row}
    for a in reversed(range(count)):
        level[a] = min([level[b] for b in graph[a]], default=level[a] + 1) - 1
    rows = [[k for k in range(count) if level[k] == depth] for depth in sorted(set(level.values()))]
    near, place = graph.to_undirected(), _places(rows)
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            row.sort(key=lambda k: fmean([place[n] for n in near[k]] or [place[k]]))
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
