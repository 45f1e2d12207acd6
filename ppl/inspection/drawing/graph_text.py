"""Graph text: pictures of a form in DOT, Mermaid and networkx, from its dependences; nothing but text is made here.

Law: two vertices are joined where one reads the other directly, and equal Forms give equal text in every process.
Observed sites are filled, named values dashed, factors small squares; a plate or a loop is a box with its size. In the
factor graph a term is joined to a variable exactly where it reads the variable, so the graph falls apart where the
density is a product; a site of a loop stands for all its steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ...form import Form
from ...form.dependence import Box, Dependence, Vertex, dependence
from ...late import networkx

KNOWN = ("kind", "observed", "shape", "loops", "plates", "label", "address")  # of a vertex


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
        graph.add_node(vertex.name, **{part: getattr(vertex, part) for part in KNOWN})
    for (tail, head), carried in found.edges.items():
        graph.add_edge(found.vertices[tail].name, found.vertices[head].name, carried=carried)
    return graph


def to_dot(form: Form, *, factors: bool = False) -> str:
    r"""Write the graph of sites, factors and named values in the DOT language.

    With `factors` it is the factor graph: variables are circles, observed ones filled, terms black squares.

    >>> import numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)))
    >>> print(to_dot(form))
    digraph form {
      n0 [label="x\nNormal" shape=ellipse];
    }
    >>> print(to_dot(form, factors=True))
    graph factors {
      v0 [label="x" shape=circle];
      f0 [label="" xlabel="p(x)" shape=square style=filled fillcolor=black width=0.12];
      f0 -- v0;
    }
    """
    if factors:
        return _factors_in_dot(form)
    return _written(
        form, ["digraph form {"], _in_dot,
        lambda number, title: [f"subgraph cluster_{number} {{", f'  label="{quoted(title)}";', "}"],
        lambda tail, head, carried: f"{tail} -> {head}{' [style=dashed]' if carried else ''};",
        ["}"],
    )  # fmt: skip


def to_mermaid(form: Form) -> str:
    """Write the graph of sites, factors and named values as a Mermaid flowchart, which renders in Markdown.

    >>> import numpyro.distributions as dist, lawful
    >>> print(to_mermaid(lawful.trace(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)))))
    flowchart TD
      n0(["x ~ Normal"])
      classDef observed fill:#ccc
      classDef named stroke-dasharray:4
    """
    return _written(
        form, ["flowchart TD"], _in_mermaid,
        lambda number, title: [f'subgraph b{number}["{escaped(title)}"]', "end"],
        lambda tail, head, carried: f"{tail} {'-. next step .->' if carried else '-->'} {head}",
        ["  classDef observed fill:#ccc", "  classDef named stroke-dasharray:4"],
    )  # fmt: skip


def to_factor_graph(form: Form) -> Any:
    """Return the bipartite networkx.Graph of a form.

    Variables are the sites under their names in results (bipartite=0, observed); terms are `p(x)` of each site and the
    factors under their names (bipartite=1). Both have plates (names and sizes) and loops (lengths).

    >>> import networkx, numpyro.distributions as dist, lawful
    >>> def chain():
    ...     x = lawful.sample("x", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(2 * x, 1.0), obs=0.0)
    >>> graph = to_factor_graph(lawful.trace(chain))
    >>> sorted(graph.neighbors("p(y)")), networkx.is_bipartite(graph)
    (['x', 'y'], True)
    """
    graph, found = networkx.Graph(), dependence(form)
    sites = [v for v in found.vertices.values() if v.kind == "sample"]
    for v in sites:
        graph.add_node(v.name, bipartite=0, observed=v.observed, plates=v.plates, loops=v.loops)
    for v in found.vertices.values():
        graph.add_node(_term(v), bipartite=1, kind=v.kind, plates=v.plates, loops=v.loops)
    graph.add_edges_from((_term(v), v.name) for v in sites)
    graph.add_edges_from((_term(found.vertices[head]), found.vertices[tail].name) for tail, head in found.edges)
    return graph


def _factors_in_dot(form: Form) -> str:
    graph = to_factor_graph(form)
    variables, terms = ([name for name, own in graph.nodes(data="bipartite") if own == side] for side in (0, 1))
    lines = ["graph factors {"]
    for k, name in enumerate(variables):
        about = graph.nodes[name]
        boxes = [_sized(*plate) for plate in about["plates"]] + [f"loop of {length}" for length in about["loops"]]
        label = quoted(f"{name} [{', '.join(boxes)}]" if boxes else name)
        lines.append(f'  v{k} [label="{label}" shape=circle{FILLED if about["observed"] else ""}];')
    for k, term in enumerate(terms):
        lines.append(f"  f{k} [{_square(term)}];")
        lines += [f"  f{k} -- v{variables.index(name)};" for name in sorted(graph[term])]
    return "\n".join([*lines, "}"])


def _term(vertex: Vertex) -> str:
    return f"p({vertex.name})" if vertex.kind == "sample" else vertex.name


def _sized(name: str, size: int) -> str:
    return f"{name} \N{MULTIPLICATION SIGN} {size}"


def _written(
    form: Form, begin: list[str], vertex: Callable[[Vertex, str], str], box: Callable[[int, str], list[str]],
    arrow: Callable[[str, str, bool], str], end: list[str],
) -> str:  # fmt: skip
    """Write a picture: the first lines, vertices in their boxes (lines that open one, and that closes it), arrows."""
    found = dependence(form, named=True)
    ids, boxed = {address: f"n{number}" for number, address in enumerate(found.vertices)}, drawable(found)
    numbers = itertools.count(1)

    def inside(group: Group) -> Iterator[str]:
        for item in sorted(group.items, key=lambda item: isinstance(item, Group)):
            if isinstance(item, Vertex):
                yield f"  {ids[item.address]}{vertex(item, marked(item, boxed))}"
            elif item.box is not None:
                *opens, closes = box(next(numbers), box_title(item.box))
                yield from (f"  {line}" for line in (*opens, *inside(item), closes))

    arrows = (f"  {arrow(ids[tail], ids[head], carried)}" for (tail, head), carried in found.edges.items())
    return "\n".join([*begin, *inside(grouped(found)), *arrows, *end])


@dataclass
class Group:
    """The vertices and the boxes in a box, in the order of evaluation."""

    box: Box | None = None
    items: list[Vertex | Group] = field(default_factory=list)

    def inside(self, box: Box) -> Group:
        """Find the group of a box, or begin it."""
        for item in self.items:
            if isinstance(item, Group) and item.box == box:
                return item
        self.items.append(made := Group(box))
        return made


def grouped(found: Dependence) -> Group:
    """Put the vertices into their boxes."""
    root, boxed = Group(), drawable(found)
    for vertex in found.vertices.values():
        group = root
        for box in filter(boxed, vertex.boxes):
            group = group.inside(box)
        group.items.append(vertex)
    return root


def drawable(found: Dependence) -> Callable[[Box], bool]:
    """Tell which boxes nest; a plate inside another one only at some sites is marked in the labels instead."""
    above: dict[str, set[tuple[str, ...]]] = {}
    for vertex in found.vertices.values():
        for depth, box in enumerate(vertex.boxes):
            above.setdefault(box.key, set()).add(tuple(b.key for b in vertex.boxes[:depth]))
    return lambda box: len(above[box.key]) == 1


def box_title(box: Box) -> str:
    """Write the title of a box."""
    return _sized(box.name, box.size) if box.kind == "plate" else box.name


def marked(vertex: Vertex, boxed: Callable[[Box], bool]) -> str:
    """Write the name of a vertex, with the plates that are not drawn as boxes."""
    return vertex.name + "".join(f" [{box_title(box)}]" for box in vertex.boxes if not boxed(box))


FILLED = " style=filled fillcolor=lightgrey"


def _square(name: str) -> str:
    return f'label="" xlabel="{quoted(name)}" shape=square style=filled fillcolor=black width=0.12'


def _in_dot(vertex: Vertex, name: str) -> str:
    if vertex.kind == "factor":
        return f" [{_square(name)}];"
    if vertex.kind == "deterministic":
        return f' [label="{quoted(name)}" shape=ellipse style=dashed];'
    return f' [label="{quoted(name)}\\n{quoted(vertex.label)}" shape=ellipse{FILLED if vertex.observed else ""}];'


def _in_mermaid(vertex: Vertex, name: str) -> str:
    if vertex.kind == "factor":
        return f'["{escaped(name)}"]'
    if vertex.kind == "deterministic":
        return f'(["{escaped(name)}"]):::named'
    return f'(["{escaped(f"{name} ~ {vertex.label}")}"])' + (":::observed" if vertex.observed else "")


def quoted(text: str) -> str:
    """Write a text inside DOT's quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def escaped(text: str) -> str:
    """Write a text inside Mermaid's quotes; its entities begin with a number sign."""
    plain = text.replace("#", "#35;").replace("\n", " ")
    return plain.replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
