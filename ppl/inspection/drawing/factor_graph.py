"""The factor graph of a Form: variables on one side, the terms of the density on the other.

Law: a term is joined to a variable exactly where it reads the variable, so the graph falls apart where the density is a
product. A site of a loop stands for all its steps.
"""

from __future__ import annotations

from typing import Any

import networkx

from ...form import Form
from ...form.dependence import Dependence, Vertex, dependence
from .graph_text import quoted


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
    graph = networkx.Graph()
    found = dependence(form)
    sites = [vertex for vertex in found.vertices.values() if vertex.kind == "sample"]
    for vertex in sites:
        graph.add_node(vertex.name, bipartite=0, observed=vertex.observed, plates=vertex.plates, loops=vertex.loops)
    for vertex in found.vertices.values():
        graph.add_node(_term(vertex), bipartite=1, kind=vertex.kind, plates=vertex.plates, loops=vertex.loops)
        for name in _reads(found, vertex):
            graph.add_edge(_term(vertex), name)
    return graph


def factor_graph_to_dot(form: Form) -> str:
    """Write the factor graph in the DOT language: variables are circles, observed ones filled, terms black squares.

    >>> import numpyro.distributions as dist, lawful
    >>> print(factor_graph_to_dot(lawful.trace(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)))))
    graph factors {
      v0 [label="x" shape=circle];
      f0 [label="" xlabel="p(x)" shape=square style=filled fillcolor=black width=0.12];
      f0 -- v0;
    }
    """
    found = dependence(form)
    vertices = list(found.vertices.values())
    number = {v.name: k for k, v in enumerate(v for v in vertices if v.kind == "sample")}
    lines = ["graph factors {"]
    for vertex in vertices:
        if vertex.kind == "sample":
            filled = " style=filled fillcolor=lightgrey" if vertex.observed else ""
            lines.append(
                f'  v{number[vertex.name]} [label="{quoted(vertex.name + _sizes(vertex))}" shape=circle{filled}];'
            )
    for k, vertex in enumerate(vertices):
        label = quoted(_term(vertex))
        lines.append(f'  f{k} [label="" xlabel="{label}" shape=square style=filled fillcolor=black width=0.12];')
        lines += [f"  f{k} -- v{number[name]};" for name in _reads(found, vertex)]
    return "\n".join([*lines, "}"])


def _term(vertex: Vertex) -> str:
    return f"p({vertex.name})" if vertex.kind == "sample" else vertex.name


def _reads(found: Dependence, vertex: Vertex) -> list[str]:
    """Name the variables that a term reads, the variable that it is the density of among them."""
    own = [vertex.name] if vertex.kind == "sample" else []
    parents = [found.vertices[tail].name for tail, head in found.edges if head == vertex.address]
    return sorted({*own, *parents})


def _sizes(vertex: Vertex) -> str:
    boxes = [*(f"{name} \N{MULTIPLICATION SIGN} {size}" for name, size in vertex.plates),
             *(f"loop of {length}" for length in vertex.loops)]  # fmt: skip
    return f" [{', '.join(boxes)}]" if boxes else ""
