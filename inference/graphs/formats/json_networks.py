"""JSON networks: two schemas, a network of tables and a pairwise model.

Schema *network*: `variables` (name, states); `cpds` (variable, parents, table with one row for each configuration of
the parents, the last parent fastest, entries in the order of the variable's states). A table need not sum to one, and a
variable may have any number of them. What is written may have more: `log_table` in place of `table` where the linear
numbers do not have exactly these logs, null for -inf; a number in place of `states` without names; null as `variable`
of a factor on none; the `name` of a factor; `arrays`, the names and shapes of the arrays that the variables are
elements of, in order; `evidence`, pairs of a variable and the number of its state.

Schema *pairwise*: `n_variables`, `cardinality`, `unary_log`, `edges`, `coupling`; the log score of an edge is +J where
the two states are equal and -J elsewhere. Its variables are the array `x`.

Law: reading what was written gives exactly the same logs, and the same names, states and arrays.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lawful.errors import LawfulError, MalformedFileError

from ..model.graph import FactorGraph
from .assembling import Ragged, Term, families, linear, observed_by_number, ragged, with_factors
from .json_fields import Field, number_of
from .listing import Listed, concrete, listed
from .words import text_of, write

type Source = str | os.PathLike[str]


def from_json(source: Source | Mapping[str, Any]) -> FactorGraph:
    """Read a network or a pairwise model.

    Args:
        source: path of a file, its text, or the object that it holds.

    Raises: MalformedFileError, which says where, what was expected and what was found.

    >>> coin = {"variables": [{"name": "coin", "states": ["heads", "tails"]}],
    ...         "cpds": [{"variable": "coin", "parents": [], "table": [[0.5, 0.5]]}]}
    >>> from_json(coin).factor_name(0, 0)
    'p(coin)'
    """
    given, name = _loaded(source)
    if "cpds" in given:
        return _network(given, name)
    if "edges" in given:
        return _pairwise(given, name)
    raise MalformedFileError(
        f"{name}: expected 'cpds', of a network, or 'edges', of a pairwise model; found "
        f"{', '.join(map(str, given)) or 'nothing'}."
    )


def _loaded(source: Source | Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    if isinstance(source, Mapping):
        return source, "JSON"
    text, name = text_of(source, lambda text: text.lstrip().startswith("{"))
    try:
        given = json.loads(text, parse_float=number_of)
    except ValueError as error:
        raise MalformedFileError(f"{name}: expected JSON: {error}.", source=name) from error
    if not isinstance(given, Mapping):
        raise MalformedFileError(f"{name}: expected an object with names, found {type(given).__name__}.", source=name)
    return given, name


def _network(given: Mapping[str, Any], name: str) -> FactorGraph:
    root = Field(given, name)
    variables = root["variables"].parts()
    names = [variable["name"].text() for variable in variables]
    states: list[Sequence[str] | int] = [_states(variable["states"]) for variable in variables]
    number = {variable: k for k, variable in enumerate(names)}
    if len(number) < len(names):
        twice = next(k for k, variable in enumerate(names) if variable in names[:k])
        raise variables[twice]["name"].wrong("a name that no other variable has")
    graph = FactorGraph()
    arrays = [(part["name"].text(), tuple(size.whole(0) for size in part["shape"].parts()))
              for part in root["arrays"].parts()] if "arrays" in root else None  # fmt: skip
    families(graph, names, states, [None] * len(names), arrays)
    cards = graph.structure.cardinalities.tolist()
    terms = [_term(part, number, names, cards) for part in root["cpds"].parts()]
    graph = with_factors(graph, ragged(terms), directed=True)
    return _observed(graph, root, number)


def _states(field: Field) -> Sequence[str] | int:
    return field.whole(1) if isinstance(field.value, int) else [state.text() for state in field.parts()]


def _term(part: Field, number: Mapping[str, int], names: Sequence[str], cards: Sequence[int]) -> Term:
    known = "the name of a variable"
    parents = [parent.index(number, known) for parent in part["parents"].parts()]
    bare = part["variable"].value is None and not parents
    scope = () if bare else (*parents, part["variable"].index(number, known))
    shape = tuple(cards[v] for v in scope)
    rows = (math.prod(shape[:-1]), shape[-1] if shape else 1)
    name = part["name"].text() if "name" in part else _default_name(names[scope[-1]] if scope else "")
    if "log_table" in part:
        return Term(name, scope, part["log_table"].array(rows, logs=True).reshape(shape))
    return linear(name, scope, part["table"].array(rows, logs=False).reshape(shape))


def _default_name(variable: str) -> str:
    return f"p({variable})"


def _observed(graph: FactorGraph, root: Field, number: Mapping[Any, int]) -> FactorGraph:
    if "evidence" not in root:
        return graph
    cards, found = graph.structure.cardinalities, {}
    for pair in root["evidence"].parts():
        if len(pair.parts()) != 2:
            raise pair.wrong("a variable and the number of its state")
        variable, state = pair.parts()
        v = variable.index(number, "a variable of the network")
        if state.whole(0) >= cards[v]:
            raise state.wrong(f"a state from 0 to {cards[v] - 1}")
        found[v] = state.value
    return observed_by_number(graph, np.array(list(found), np.int64), np.array(list(found.values()), np.int64))


def _pairwise(given: Mapping[str, Any], name: str) -> FactorGraph:
    root = Field(given, name)
    count, card = root["n_variables"].whole(0), root["cardinality"].whole(1)
    edges = [edge.parts() for edge in root["edges"].parts()]
    number = {v: v for v in range(count)}
    for edge, field in zip(edges, root["edges"].parts(), strict=True):
        if len(edge) != 2:
            raise field.wrong("two variables")
    ends = [[end.index(number, f"a variable from 0 to {count - 1}") for end in edge] for edge in edges]
    graph = FactorGraph()
    unary = root["unary_log"].array((count, card), logs=True) if "unary_log" in root else np.zeros((count, card))
    x = graph.variables("x", (count,), card, unary)
    coupling = root["coupling"].array((len(edges),), logs=True)
    if not np.isfinite(coupling).all():
        raise root["coupling"].wrong("finite numbers")
    first, second = np.array(ends, np.int64).reshape((-1, 2)).T
    tables = coupling[:, None, None] * _signs(card)[None]
    if np.any(first == second):
        flat, unknown = np.array(ends, np.int64).reshape(-1), np.full(tables.size, np.nan)
        graph = with_factors(graph, Ragged(np.full(len(ends), 2), flat, tables.reshape(-1), unknown, None))
    else:
        graph.factors("edges", [x[first], x[second]], tables)
    return _observed(graph, root, number)


def _signs(card: int) -> np.ndarray:
    return np.where(np.eye(card, dtype=bool), 1.0, -1.0)


def to_json(graph: FactorGraph, path: Source | None = None) -> str:
    """Write a graph: as a pairwise model where it is one, named as `from_json` names it, and as a network elsewhere.

    Raises: LawfulError for potentials that are traced, and for two variables with one name.
    """
    plain = concrete(graph)
    given = _as_pairwise(graph, plain.unary, plain.tables)
    if given is None:
        given = _as_network(graph, listed(graph))
    else:
        given |= _evidence(list(range(len(plain.seen))), plain.seen)
    return write(json.dumps(given, allow_nan=False) + "\n", path)


def _as_pairwise(graph: FactorGraph, unary: list[np.ndarray], tables: list[np.ndarray]) -> dict[str, Any] | None:
    structure = graph.structure
    if len(structure.families) != 1 or len(structure.groups) != 1:
        return None
    (family,), (group,) = structure.families, structure.groups
    plain = (family.name, family.shape, family.states) == ("x", (family.size,), None)
    if not plain or (group.name, group.arity) != ("edges", 2):
        return None
    coupling = np.broadcast_to(tables[0][:, 0, 0], (group.size,))
    signs = _signs(family.cardinality).astype(tables[0].dtype)
    if not np.isfinite(coupling).all() or np.any(coupling[:, None, None] * signs[None] != tables[0]):
        return None
    return {
        "n_variables": family.size,
        "cardinality": family.cardinality,
        "unary_log": _nulls(unary[0]),
        "edges": group.scopes.tolist(),
        "coupling": coupling.tolist(),
    }


def _as_network(graph: FactorGraph, lists: Listed) -> dict[str, Any]:
    names = lists.names
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise LawfulError(f"to_json: the names {', '.join(twice)} stand for two variables each. Fix: rename one.")
    states = [kinds or count for kinds, count in zip(lists.states, lists.cardinalities, strict=True)]
    own = [Term(f"score of {names[v]}", (v,), scores) for v, scores in enumerate(lists.unary) if np.any(scores != 0)]
    found: dict[str, Any] = {
        "variables": [{"name": name, "states": kinds} for name, kinds in zip(names, states, strict=True)],
        "cpds": [_cpd(term, names) for term in (*own, *lists.terms)],
    }
    arrays = [{"name": f.name, "shape": f.shape} for f in graph.structure.families if f.size]
    if any(array["shape"] for array in arrays):
        found["arrays"] = arrays
    return found | _evidence(names, lists.seen)


def _cpd(term: Term, names: Sequence[str]) -> dict[str, Any]:
    *parents, child = (names[v] for v in term.scope) if term.scope else (None,)
    rows = (-1, term.logs.shape[-1] if term.scope else 1)
    found: dict[str, Any] = {"variable": child, "parents": parents}
    if term.name != _default_name(child or ""):
        found["name"] = term.name
    if term.entries is not None:
        found["table"] = term.entries.reshape(rows).tolist()
    else:
        found["log_table"] = _nulls(term.logs.reshape(rows))
    return found


def _nulls(logs: np.ndarray) -> list[Any]:
    return [[None if x == -math.inf else x for x in row] for row in np.asarray(logs, np.float64).tolist()]


def _evidence(names: Sequence[str | int], seen: np.ndarray) -> dict[str, Any]:
    found = [[name, state] for name, state in zip(names, seen.tolist(), strict=True) if state >= 0]
    return {"evidence": found} if found else {}
