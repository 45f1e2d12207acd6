"""Graph text: pictures of a form in DOT, Mermaid and networkx, from its dependences; nothing but text is made here.

Law: two vertices are joined where one reads the other directly, and equal Forms give equal text in every process.
Observed sites are filled, named values dashed, factors small squares; a plate or a loop is a box with its size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import networkx

from ...addresses import Address
from ...form import Form
from ...form.dependence import Box, Dependence, Vertex, dependence


def to_networkx(form: Form) -> Any:
    """Return the networkx.DiGraph of sites and factors, under their names in results.

    Vertex attributes: kind ("sample" or "factor"), observed, shape (of one value), loops (lengths), plates (names and
    sizes), label (of the law), address. Edge attribute: carried, True where only a later step of a loop reads the
    value.

    >>> import numpyro.distributions as dist, lawful
    >>> def chain():
    ...     x = lawful.sample("x", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(2 * x, 1.0), obs=0.0)
    >>> graph = to_networkx(lawful.trace(chain))
    >>> list(graph.edges), graph.nodes["y"]["observed"]
    ([('x', 'y')], True)
    """
    found = dependence(form)
    graph = networkx.DiGraph()
    for vertex in found.vertices.values():
        graph.add_node(
            vertex.name,
            kind=vertex.kind,
            observed=vertex.observed,
            shape=vertex.shape,
            loops=vertex.loops,
            plates=vertex.plates,
            label=vertex.label,
            address=vertex.address,
        )
    for (tail, head), carried in found.edges.items():
        graph.add_edge(found.vertices[tail].name, found.vertices[head].name, carried=carried)
    return graph


def to_dot(form: Form) -> str:
    r"""Write the graph of sites, factors and named values in the DOT language.

    >>> import numpyro.distributions as dist, lawful
    >>> print(to_dot(lawful.trace(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)))))
    digraph form {
      n0 [label="x\nNormal" shape=ellipse];
    }
    """
    found = dependence(form, named=True)
    ids, boxed = _ids(found), drawable(found)
    lines = ["digraph form {"]
    for depth, item, opens in _nested(found, boxed):
        space = "  " * (depth + 1)
        if isinstance(item, Vertex):
            lines.append(f"{space}{ids[item.address]} [{_dot_style(item, boxed)}];")
        elif opens:
            lines.append(f"{space}subgraph cluster_{opens} {{")
            lines.append(f'{space}  label="{quoted(box_title(item))}";')
        else:
            lines.append(f"{space}}}")
    for (tail, head), carried in found.edges.items():
        lines.append(f"  {ids[tail]} -> {ids[head]}{' [style=dashed]' if carried else ''};")
    return "\n".join([*lines, "}"])


def to_mermaid(form: Form) -> str:
    """Write the graph of sites, factors and named values as a Mermaid flowchart, which renders in Markdown.

    >>> import numpyro.distributions as dist, lawful
    >>> print(to_mermaid(lawful.trace(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)))))
    flowchart TD
      n0(["x ~ Normal"])
      classDef observed fill:#ccc
      classDef named stroke-dasharray:4
    """
    found = dependence(form, named=True)
    ids, boxed = _ids(found), drawable(found)
    lines = ["flowchart TD"]
    for depth, item, opens in _nested(found, boxed):
        space = "  " * (depth + 1)
        if isinstance(item, Vertex):
            lines.append(f"{space}{ids[item.address]}{_mermaid_shape(item, boxed)}")
        elif opens:
            lines.append(f'{space}subgraph b{opens}["{escaped(box_title(item))}"]')
        else:
            lines.append(f"{space}end")
    for (tail, head), carried in found.edges.items():
        lines.append(f"  {ids[tail]} {'-. next step .->' if carried else '-->'} {ids[head]}")
    return "\n".join([*lines, "  classDef observed fill:#ccc", "  classDef named stroke-dasharray:4"])


def _ids(found: Dependence) -> dict[Address, str]:
    return {address: f"n{number}" for number, address in enumerate(found.vertices)}


def drawable(found: Dependence) -> Callable[[Box], bool]:
    """Tell which boxes nest; a plate inside another one only at some sites is marked in the labels instead."""
    above: dict[str, set[tuple[str, ...]]] = {}
    for vertex in found.vertices.values():
        for depth, box in enumerate(vertex.boxes):
            above.setdefault(box.key, set()).add(tuple(b.key for b in vertex.boxes[:depth]))
    return lambda box: len(above[box.key]) == 1


def _nested(found: Dependence, boxed: Callable[[Box], bool]) -> Iterator[tuple[int, Vertex | Box, int]]:
    """Walk vertices in their boxes: (depth, vertex or box, number of a box that opens, else 0)."""
    groups: dict[tuple[Box, ...], list[Vertex]] = {}
    for vertex in found.vertices.values():
        path = tuple(box for box in vertex.boxes if boxed(box))
        for depth in range(len(path) + 1):
            groups.setdefault(path[:depth], [])
        groups[path].append(vertex)
    numbers = {path: number for number, path in enumerate(path for path in groups if path)}

    def inside(path: tuple[Box, ...]) -> Iterator[tuple[int, Vertex | Box, int]]:
        for vertex in groups[path]:
            yield len(path), vertex, 0
        for deeper in groups:
            if len(deeper) == len(path) + 1 and deeper[:-1] == path:
                yield len(path), deeper[-1], numbers[deeper] + 1
                yield from inside(deeper)
                yield len(path), deeper[-1], 0

    yield from inside(())


def box_title(box: Box) -> str:
    """Write the title of a box."""
    return f"{box.name} \N{MULTIPLICATION SIGN} {box.size}" if box.kind == "plate" else box.name


def marks(vertex: Vertex, boxed: Callable[[Box], bool]) -> str:
    """Write the plates of a vertex that are not drawn as boxes."""
    return "".join(f" [{box_title(box)}]" for box in vertex.boxes if not boxed(box))


def _dot_style(vertex: Vertex, boxed: Callable[[Box], bool]) -> str:
    name = quoted(vertex.name + marks(vertex, boxed))
    if vertex.kind == "factor":
        return f'label="" xlabel="{name}" shape=square style=filled fillcolor=black width=0.12'
    if vertex.kind == "deterministic":
        return f'label="{name}" shape=ellipse style=dashed'
    label = f"{name}\\n{quoted(vertex.label)}"
    return f'label="{label}" shape=ellipse' + (" style=filled fillcolor=lightgrey" if vertex.observed else "")


def _mermaid_shape(vertex: Vertex, boxed: Callable[[Box], bool]) -> str:
    name = vertex.name + marks(vertex, boxed)
    if vertex.kind == "factor":
        return f'["{escaped(name)}"]'
    if vertex.kind == "deterministic":
        return f'(["{escaped(name)}"]):::named'
    text = escaped(f"{name} ~ {vertex.label}")
    return f'(["{text}"])' + (":::observed" if vertex.observed else "")


def quoted(text: str) -> str:
    """Write a text inside DOT's quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def escaped(text: str) -> str:
    """Write a text inside Mermaid's quotes; its entities begin with a number sign."""
    plain = text.replace("#", "#35;").replace("\n", " ")
    return plain.replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
