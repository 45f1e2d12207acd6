"""pgmpy models: the networks of that library, and the file formats that it reads.

Law: the measure is the product of the model's tables, on variables and states of the same names. A table of a variable
given others has its variable on the first axis there, and on the last one here, as in the other formats.

Nothing of pgmpy is imported to read a model: what counts is that it has nodes, and tables with `variables`, `values`
and `state_names`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lawful.errors import LawfulError, MalformedFileError

from ..model.graph import FactorGraph
from .assembling import Term, families, linear, ragged, with_factors

READERS = {".bif": "BIFReader", ".xmlbif": "XMLBIFReader", ".xml": "XMLBIFReader", ".xdsl": "XDSLReader"}


def from_pgmpy(model: Any) -> FactorGraph:
    """Read a Bayesian network, a Markov network or a factor graph of pgmpy.

    Raises: MalformedFileError for an object that is none of these, a variable without a table, a table that is not one
        of numbers for finitely many states, and states that two tables list differently.
    """
    directed = hasattr(model, "get_cpds")
    read = getattr(model, "get_cpds" if directed else "get_factors", None)
    if read is None or not hasattr(model, "nodes"):
        raise MalformedFileError(
            "from_pgmpy: expected a BayesianNetwork, MarkovNetwork or FactorGraph of pgmpy, got "
            f"{type(model).__name__}."
        )
    tables = list(read())
    for table in tables:
        if not all(hasattr(table, part) for part in ("variables", "values", "state_names")):
            raise MalformedFileError(
                f"from_pgmpy: expected discrete tables, with variables, values and state_names, got "
                f"{type(table).__name__}."
            )
    states = _states(tables)
    nodes = list(model.nodes())
    if hasattr(model, "get_factor_nodes"):  # the other nodes of a factor graph are its tables, or names of them
        nodes = [node for node in nodes if node in states]
    for node in nodes:
        if node not in states:
            raise MalformedFileError(
                f"from_pgmpy: {node!r} stands in no table, so its states are not known. Fix: add a table, of ones if "
                "it has no weights."
            )
    graph, number = FactorGraph(), {node: k for k, node in enumerate(nodes)}
    families(graph, [str(node) for node in nodes], [_named(states[node]) for node in nodes], [None] * len(nodes))
    terms = [_term(k, table, number, states, directed) for k, table in enumerate(tables)]
    return with_factors(graph, ragged(terms), directed=directed)


def _states(tables: Sequence[Any]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    for table in tables:
        for variable, count in zip(table.variables, np.shape(table.values), strict=True):
            names = list(table.state_names.get(variable) or range(count))
            if found.setdefault(variable, names) != names:
                raise MalformedFileError(
                    f"from_pgmpy: two tables list the states of {variable!r} differently: {found[variable]} and "
                    f"{names}. Fix: list them in one order."
                )
    return found


def _named(states: list[Any]) -> int | list[str]:
    """Give the names of states; those that are only numbered need none."""
    return len(states) if states == list(range(len(states))) else [str(state) for state in states]


def _term(k: int, table: Any, number: dict[Any, int], states: dict[Any, list[Any]], directed: bool) -> Term:
    variables, values = list(table.variables), np.asarray(table.values, np.float64)
    name = f"p({variables[0]})" if directed else f"factor {k}"
    unknown = [v for v in variables if v not in number]
    if unknown:
        raise MalformedFileError(f"from_pgmpy: {name}: {unknown[0]!r} is no node of the model.")
    if not np.all((values >= 0) & (values < np.inf)):
        raise MalformedFileError(f"from_pgmpy: {name}: expected entries that are finite and not negative.")
    scope = [number[v] for v in variables]
    if directed:
        scope, values = [*scope[1:], scope[0]], np.moveaxis(values, 0, -1)
    return linear(name, tuple(scope), values)


def from_bif(path: str | os.PathLike[str]) -> FactorGraph:
    """Read a file of the formats BIF, XMLBIF or XDSL, told apart by the ending of its name, through pgmpy.

    Raises: LawfulError where pgmpy is not installed, and for another ending; MalformedFileError for a file that pgmpy
        cannot read.
    """
    source = Path(path)
    reader = READERS.get(source.suffix.lower())
    if reader is None:
        raise LawfulError(f"{source}: expected a name that ends in {', '.join(READERS)}, got {source.suffix!r}.")
    try:
        module = importlib.import_module("pgmpy.readwrite")
    except ImportError as error:
        raise LawfulError(
            f"{source}: files of this kind are read by pgmpy. Fix: pip install 'lawful[pgmpy]'.", module="pgmpy"
        ) from error
    if not source.is_file():
        raise MalformedFileError(f"{source}: there is no such file.", source=str(source))
    try:
        model = getattr(module, reader)(str(source)).get_model()
    except Exception as error:  # whatever its parsers say of a file
        raise MalformedFileError(
            f"{source}: pgmpy cannot read it as {reader.removesuffix('Reader')}: {type(error).__name__}: {error}.",
            source=str(source),
        ) from error
    return from_pgmpy(model)
