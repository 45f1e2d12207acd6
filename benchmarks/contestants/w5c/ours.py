"""lawful on W5c: `infer` with observations that are new to the graph at each query, compiled for its structure."""

from __future__ import annotations

from typing import Any

import jax

from benchmarks.contestants.alarm import MANY, AlarmRun
from benchmarks.workloads import ALARM_EVIDENCE, alarm_states, alarm_tables
from lawful.inference.graphs import FactorGraph, infer
from lawful.inference.graphs.formats.assembling import families, linear, ragged, with_factors

PACKAGES = ("lawful", "jax", "jaxlib")
DTYPE = "float32"


def alarm_graph() -> FactorGraph:
    """The network, its tables grouped by their shapes."""
    states, graph = alarm_states(), FactorGraph()
    families(graph, list(states), list(states.values()), [None] * len(states))
    number = {name: k for k, name in enumerate(states)}
    terms = [linear(f"p({scope[-1]})", tuple(number[v] for v in scope), table) for scope, table in alarm_tables()]
    return with_factors(graph, ragged(terms), directed=True)


def query(compiled: bool | None, queries: int) -> AlarmRun:
    """The contestant, compiled at once or as `infer` has it by itself: after a hundred queries."""
    graph = alarm_graph()

    def run() -> Any:
        found = infer(graph.observe(ALARM_EVIDENCE), compiled=compiled)
        return jax.block_until_ready((found.log_z, found.beliefs))

    return AlarmRun(run, queries)


def build(settings: dict[str, Any]) -> AlarmRun:
    """The contestant for one variant."""
    return query(compiled=True, queries=MANY)
