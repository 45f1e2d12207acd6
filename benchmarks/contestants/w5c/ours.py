"""lawful on W5c: `infer` with observations that are new to the graph at each query, compiled for its structure."""

from __future__ import annotations

from typing import Any

import jax

from benchmarks.contestants.alarm import MANY, AlarmRun
from benchmarks.workloads import ALARM_EVIDENCE, alarm_file
from lawful.inference.graphs import FactorGraph, infer

PACKAGES = ("lawful", "jax", "jaxlib")
DTYPE = "float32"


def query(compiled: bool | None, queries: int) -> AlarmRun:
    """The contestant, compiled at once or as `infer` has it by itself: after a hundred queries."""
    graph = FactorGraph.from_json(alarm_file())

    def run() -> Any:
        found = infer(graph.observe(ALARM_EVIDENCE), compiled=compiled)
        return jax.block_until_ready((found.log_z, found.beliefs))

    return AlarmRun(run, queries)


def build(settings: dict[str, Any]) -> AlarmRun:
    """The contestant for one variant."""
    return query(compiled=True, queries=MANY)
