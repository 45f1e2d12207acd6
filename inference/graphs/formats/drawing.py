"""Drawing a factor graph: DOT and Mermaid; nothing but text is made here.

Law: a small graph is drawn variable by variable and factor by factor, and a factor is joined to a variable exactly
where its scope holds it. A larger one is drawn array by array and group by group, with their counts, and a group is
joined to an array where a factor of it holds one of its variables. Variables are round, those that were seen filled;
factors are squares; an array of which the single variables are drawn is a box. Equal graphs give equal text.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from lawful.inspection.drawing.graph_text import escaped, quoted

from ..model.graph import FactorGraph
from ..model.structure import Family

ONE_BY_ONE = 40  # variables and factors, drawn singly up to here
FILLED = " style=filled fillcolor=lightgrey"
BLACK = "shape=square style=filled fillcolor=black width=0.12"
TIMES = "\N{MULTIPLICATION SIGN}"


class Picture(NamedTuple):
    """What is drawn.

    Attributes:
        boxes: titles of boxes, each with its variables: their labels, and whether they were seen. Those that stand in
            no box have None as title.
        factors: labels.
        edges: numbers of a factor and of a variable.
    """

    boxes: list[tuple[str | None, list[tuple[str, bool]]]]
    factors: list[str]
    edges: list[tuple[int, int]]


def to_dot(graph: FactorGraph, singly: bool | None = None) -> str:
    r"""Write the picture in the DOT language.

    Args:
        graph: the graph.
        singly: whether to draw variables and factors one by one; by default where there are at most 40 of them.

    >>> graph = FactorGraph()
    >>> z = graph.variables("z", shape=(100,), cardinality=3)
    >>> graph.factors("chain", [z[:-1], z[1:]], np.zeros((3, 3)))
    >>> print(to_dot(graph))
    graph factors {
      v0 [label="z × 100\n3 states" shape=ellipse];
      f0 [label="chain × 99\n3 × 3, one table" shape=box];
      f0 -- v0;
    }
    """
    one_by_one = _small(graph) if singly is None else singly
    picture = _singly(graph) if one_by_one else _by_groups(graph)
    lines, number = ["graph factors {"], 0
    for k, (title, variables) in enumerate(picture.boxes):
        space = "  " if title is None else "    "
        if title is not None:
            lines += [f"  subgraph cluster_{k} {{", f'    label="{quoted(title)}";']
        for label, seen in variables:
            shape = "circle" if one_by_one else "ellipse"
            lines.append(f'{space}v{number} [label="{quoted(label)}" shape={shape}{FILLED if seen else ""}];')
            number += 1
        if title is not None:
            lines.append("  }")
    for k, label in enumerate(picture.factors):
        text = quoted(label)
        lines.append(
            f'  f{k} [label="" xlabel="{text}" {BLACK}];' if one_by_one else f'  f{k} [label="{text}" shape=box];'
        )
    lines += [f"  f{factor} -- v{variable};" for factor, variable in picture.edges]
    return "\n".join([*lines, "}"])


def to_mermaid(graph: FactorGraph, singly: bool | None = None) -> str:
    """Write the picture as a Mermaid flowchart, which renders in Markdown; the arguments are those of `to_dot`.

    >>> graph = FactorGraph()
    >>> z = graph.variables("z", cardinality=2)
    >>> graph.factors("prior", [z], np.zeros(2))
    >>> print(to_mermaid(graph))
    flowchart TD
      v0(["z"])
      f0["prior[0]"]
      f0 --- v0
      classDef observed fill:#ccc
    """
    one_by_one = _small(graph) if singly is None else singly
    picture = _singly(graph) if one_by_one else _by_groups(graph)
    lines, number = ["flowchart TD"], 0
    for k, (title, variables) in enumerate(picture.boxes):
        space = "  " if title is None else "    "
        if title is not None:
            lines.append(f'  subgraph b{k}["{escaped(title)}"]')
        for label, seen in variables:
            lines.append(f'{space}v{number}(["{escaped(label)}"]){":::observed" if seen else ""}')
            number += 1
        if title is not None:
            lines.append("  end")
    lines += [f'  f{k}["{escaped(label)}"]' for k, label in enumerate(picture.factors)]
    lines += [f"  f{factor} --- v{variable}" for factor, variable in picture.edges]
    return "\n".join([*lines, "  classDef observed fill:#ccc"])


def _small(graph: FactorGraph) -> bool:
    return graph.structure.bipartite.shape[0] <= ONE_BY_ONE


def _seen(graph: FactorGraph, family: Family) -> np.ndarray:
    """Mark the variables that were seen (n,); traced evidence counts as seen wherever it may be."""
    seen = graph.evidence.get(family.name, np.full(family.shape, -1))
    if isinstance(seen, jax.core.Tracer):
        return np.ones(family.size, bool)
    return np.asarray(seen).reshape(-1) >= 0


def _singly(graph: FactorGraph) -> Picture:
    structure = graph.structure
    boxes: list[tuple[str | None, list[tuple[str, bool]]]] = []
    for family in structure.families:
        names = [structure.name_of(family.offset + k) for k in range(family.size)]
        title = _counted(family.name, family.shape) if family.shape else None
        boxes.append((title, list(zip(names, _seen(graph, family).tolist(), strict=True))))
    factors: list[str] = []
    edges: list[tuple[int, int]] = []
    for k, group in enumerate(structure.groups):
        for row, scope in enumerate(group.scopes.tolist()):
            edges += [(len(factors), v) for v in scope]
            factors.append(graph.factor_name(k, row))
    for count in structure.counted:
        for bag, total in enumerate(count.totals.tolist()):
            edges += [(len(factors), v) for v in count.members[count.starts[bag] : count.starts[bag + 1]].tolist()]
            edges.append((len(factors), total))
            factors.append(f"count {structure.name_of(total)}")
    return Picture(boxes, factors, edges)


def _by_groups(graph: FactorGraph) -> Picture:
    structure = graph.structure
    variables = []
    for family in structure.families:
        seen = _seen(graph, family)
        marks = f", {seen.sum()} observed" if seen.any() and not seen.all() else ""
        label = f"{_counted(family.name, family.shape)}\n{family.cardinality} states{marks}"
        variables.append((label, bool(seen.size and seen.all())))
    offsets = np.array([family.offset for family in structure.families])
    factors, edges = [], []
    for k, group in enumerate(structure.groups):
        sizes = f" {TIMES} ".join(map(str, group.cardinalities))
        factors.append(f"{group.name} {TIMES} {group.size}\n{sizes}{', one table' if group.shared else ''}")
        # A family without elements has the offset of the next one, so the last with this offset or less is meant.
        joined = np.unique(np.searchsorted(offsets, np.unique(group.scopes), side="right") - 1)
        edges += [(k, family) for family in joined.tolist()]
    for count in structure.counted:
        both = np.unique(np.concatenate([count.members, count.totals]))
        joined = np.unique(np.searchsorted(offsets, both, side="right") - 1)
        edges += [(len(factors), family) for family in joined.tolist()]
        factors.append(f"{count.name} {TIMES} {count.size}\ncount of {len(count.members)} members")
    return Picture([(None, variables)], factors, edges)


def _counted(name: str, shape: tuple[int, ...]) -> str:
    return f"{name} {TIMES} {f' {TIMES} '.join(map(str, shape))}" if shape else name
