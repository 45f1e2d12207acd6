"""Methods of factor graphs: files, pictures and words, bound to them when the package is imported.

Law: a graph itself is data, and imports nothing that reads, writes, draws or solves it.
"""

from __future__ import annotations

from typing import Any

from .formats.arrays import load, save
from .formats.drawing import to_dot, to_mermaid
from .formats.json_networks import from_json, to_json
from .formats.networkx_graphs import from_networkx, to_networkx
from .formats.pgmpy_models import from_bif, from_pgmpy
from .formats.uai import from_uai, to_uai
from .model.graph import FactorGraph
from .summary import summary

METHODS: dict[str, Any] = {
    "from_uai": staticmethod(from_uai),
    "to_uai": to_uai,
    "from_json": staticmethod(from_json),
    "to_json": to_json,
    "from_networkx": staticmethod(from_networkx),
    "to_networkx": to_networkx,
    "save": save,
    "load": staticmethod(load),
    "from_pgmpy": staticmethod(from_pgmpy),
    "from_bif": staticmethod(from_bif),
    "to_dot": to_dot,
    "to_mermaid": to_mermaid,
    "summary": summary,
}


def bind_methods() -> None:
    """Bind them."""
    for name, function in METHODS.items():
        setattr(FactorGraph, name, function)
