"""networkx graphs: a factor graph as a bipartite graph of another library, for drawing and analysis.

Variables are nodes with `bipartite=0` and `cardinality` or `states`, and maybe `log_potential` and `observed`, a state
by its number. Factors are nodes with `bipartite=1`, with `scope`, the variables in order, and `log_table` or `table`.

Law: the scope fixes the axes of a table, never the order of edges. A graph that was written and read has the same
variables, logs and evidence, its arrays as long as no node was added, taken away or renamed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import networkx
import numpy as np

from lawful.errors import LawfulError, MalformedFileError

from ..model.graph import FactorGraph
from .assembling import Term, concrete, families, linear, observed_by_number, ragged, with_factors


def from_networkx(graph: Any) -> FactorGraph:
    """Read a bipartite networkx graph.

    Raises: MalformedFileError for a node or an edge that does not fit, with its name.

    >>> import networkx
    >>> given = networkx.Graph()
    >>> given.add_node("rain", bipartite=0, states=["no", "yes"])
    >>> given.add_node("prior", bipartite=1, scope=("rain",), table=[0.8, 0.2])
    >>> given.add_edge("prior", "rain")
    >>> from_networkx(given).observe({"rain": "yes"})
    FactorGraph(1 variables, 1 factors)
    """
    nodes = list(graph.nodes(data=True))
    for node, data in nodes:
        if data.get("bipartite") not in (0, 1):
            raise _wrong(node, f"bipartite=0 (a variable) or 1 (a factor), found {data.get('bipartite')!r}")
    variables = [(node, data) for node, data in nodes if data["bipartite"] == 0]
    number = {node: k for k, (node, _) in enumerate(variables)}
    names = [str(node) for node in number]
    if len(set(names)) < len(names):
        raise LawfulError(f"from_networkx: two variables have the same text as name: {sorted(names)}. Fix: rename one.")
    made = FactorGraph()
    states = [_states(node, data) for node, data in variables]
    scores = [_scores(node, data, _count(kind)) for (node, data), kind in zip(variables, states, strict=True)]
    families(made, names, states, scores, graph.graph.get("arrays"))
    cards = made.structure.cardinalities.tolist()
    terms = []
    for node, data in nodes:
        if data["bipartite"] == 1:
            terms.append(_term(node, data, number, cards))
            near = set(networkx.all_neighbors(graph, node))
            if near != set(data["scope"]):
                raise _wrong(node, f"edges to its scope {data['scope']}, found {sorted(map(str, near))}")
    made = with_factors(made, ragged(terms), directed=bool(graph.graph.get("directed")))
    seen = {number[node]: _state(node, data, cards[number[node]]) for node, data in variables if "observed" in data}
    return observed_by_number(made, np.array(list(seen), np.int64), np.array(list(seen.values()), np.int64))


def _states(node: Any, data: Mapping[str, Any]) -> Any:
    if "states" in data:
        states = [str(state) for state in data["states"]]
        if data.get("cardinality", len(states)) != len(states):
            raise _wrong(node, f"a cardinality of {len(states)}, as it has states, found {data['cardinality']!r}")
        return states
    if not isinstance(data.get("cardinality"), int | np.integer):
        raise _wrong(node, f"'states' or a whole number as 'cardinality', found {data.get('cardinality')!r}")
    return int(data["cardinality"])


def _state(node: Any, data: Mapping[str, Any], count: int) -> int:
    state = data["observed"]
    if not isinstance(state, int | np.integer) or not 0 <= state < count:
        raise _wrong(node, f"'observed', the number of a state from 0 to {count - 1}, found {state!r}")
    return int(state)


def _count(kind: Any) -> int:
    return kind if isinstance(kind, int) else len(kind)


def _scores(node: Any, data: Mapping[str, Any], count: int) -> np.ndarray | None:
    if "log_potential" not in data:
        return None
    return _array(node, "log_potential", data["log_potential"], (count,))


def _term(node: Any, data: Mapping[str, Any], number: Mapping[Any, int], cards: list[int]) -> Term:
    if "scope" not in data or any(variable not in number for variable in data["scope"]):
        raise _wrong(node, f"'scope', variables of the graph in the order of the axes, found {data.get('scope')!r}")
    scope = tuple(number[variable] for variable in data["scope"])
    if ("table" in data) == ("log_table" in data):
        raise _wrong(node, "either 'table' or 'log_table'")
    shape = tuple(cards[v] for v in scope)
    name = str(data.get("name", node))
    if "log_table" in data:
        return Term(name, scope, _array(node, "log_table", data["log_table"], shape))
    table = _array(node, "table", data["table"], shape)
    if np.any(table < 0) or np.any(table == np.inf):
        raise _wrong(node, "a table of numbers that are finite and not negative; give logs as 'log_table'")
    return linear(name, scope, table)


def _array(node: Any, what: str, given: Any, shape: tuple[int, ...]) -> np.ndarray:
    found = np.asarray(given, np.float64)
    if found.shape != shape:
        raise _wrong(node, f"a {what} of shape {shape}, found {found.shape}")
    if np.isnan(found).any() or (what != "table" and np.any(found == np.inf)):
        raise _wrong(node, f"a {what} without NaN{'' if what == 'table' else ' and +inf'}")
    return found


def _wrong(node: Any, expected: str) -> MalformedFileError:
    return MalformedFileError(f"from_networkx: node {node!r}: expected {expected}.", node=str(node))


def to_networkx(graph: FactorGraph) -> Any:
    """Write a bipartite networkx.Graph: a node for each variable and each factor, under its name.

    Raises: LawfulError for potentials that are traced, and for two variables with one name.

    >>> graph = FactorGraph()
    >>> z = graph.variables("z", shape=(2,), cardinality=2)
    >>> graph.factors("same", [z[0], z[1]], np.eye(2))
    >>> sorted(to_networkx(graph).edges)
    [('z[0]', 'same[0]'), ('z[1]', 'same[0]')]
    """
    structure, plain = graph.structure, concrete(graph)
    owner = [family for family in structure.families for _ in range(family.size)]
    unary = [row for scores in plain.unary for row in scores]
    names = [structure.name_of(v) for v in range(structure.size)]
    if len(set(names)) < len(names):
        raise LawfulError("to_networkx: two variables have one name. Fix: rename one.")
    made = networkx.Graph(
        arrays=[(f.name, f.shape) for f in graph.structure.families if f.size], directed=graph.notes.directed
    )
    for v in np.argsort(graph.notes.file_numbers(structure.size)).tolist():
        card, states, seen = owner[v].cardinality, owner[v].states, int(plain.seen[v])
        named = {} if states is None else {"states": states}
        known = {} if seen < 0 else {"observed": seen}
        made.add_node(names[v], bipartite=0, cardinality=card, log_potential=unary[v], **named, **known)
    for _, name, scope, table in _in_file_order(graph, plain.tables):
        node, ends = name, tuple(names[v] for v in scope)
        while node in made:  # factors and variables are named apart
            node = f"factor {node}"
        made.add_node(node, bipartite=1, name=name, scope=ends, log_table=table)
        made.add_edges_from((end, node) for end in ends)
    return made


def _in_file_order(graph: FactorGraph, tables: Sequence[np.ndarray]) -> list[tuple[float, str, list[int], np.ndarray]]:
    """List the factors, those of a file in its order first: place, name, scope and table."""
    found = []
    for k, (group, own) in enumerate(zip(graph.structure.groups, tables, strict=True)):
        places = graph.notes.on(group.name).places
        for row, scope in enumerate(group.scopes.tolist()):
            place = math.inf if places is None else float(places[row])
            found.append((place, graph.factor_name(k, row), scope, own[0 if group.shared else row, ...]))
    return sorted(found, key=lambda factor: factor[0])
