"""Bound methods: files, pictures and words of factor graphs, bound to them when the package is imported.

Law: a graph itself is data, and imports nothing that reads, writes, draws or solves it; what does is loaded when it is
first asked for.
"""

from __future__ import annotations

from lawful.late import Method

from .model.graph import FactorGraph

HERE = "lawful.inference.graphs"
METHODS = {
    "from_uai": Method(f"{HERE}.formats.uai", "from_uai", static=True),
    "to_uai": Method(f"{HERE}.formats.uai", "to_uai"),
    "from_networkx": Method(f"{HERE}.formats.networkx_graphs", "from_networkx", static=True),
    "to_networkx": Method(f"{HERE}.formats.networkx_graphs", "to_networkx"),
    "save": Method(f"{HERE}.formats.arrays", "save"),
    "load": Method(f"{HERE}.formats.arrays", "load", static=True),
    "from_pgmpy": Method(f"{HERE}.formats.pgmpy_models", "from_pgmpy", static=True),
    "from_bif": Method(f"{HERE}.formats.pgmpy_models", "from_bif", static=True),
    "to_dot": Method(f"{HERE}.formats.drawing", "to_dot"),
    "to_mermaid": Method(f"{HERE}.formats.drawing", "to_mermaid"),
    "summary": Method(f"{HERE}.summary", "summary"),
}


def bind_methods() -> None:
    """Bind them."""
    for name, function in METHODS.items():
        setattr(FactorGraph, name, function)
