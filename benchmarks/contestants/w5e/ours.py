"""lawful on W5e: `propagated` on a graph of two groups of pairs."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.contestants.pairs import PairsRun
from benchmarks.workloads import ATTRACTION, REPULSION, pairs
from lawful.inference.factor_graphs import FactorGraph, propagated

PACKAGES = ("lawful", "jax", "jaxlib")
DTYPE = "float32"


def build(settings: dict[str, Any]) -> PairsRun:
    """The contestant for one variant."""
    given = pairs(settings["variables"], settings["bag"])
    scores = np.stack([np.zeros_like(given.odds), given.odds], axis=1)
    alike = np.eye(2, dtype=DTYPE)

    def make() -> FactorGraph:
        graph = FactorGraph()
        y = graph.variables("y", given.odds.shape, 2, scores)
        graph.factors("clique", [y[given.cliques[:, 0]], y[given.cliques[:, 1]]], np.float32(-REPULSION) * alike)
        graph.factors("near", [y[given.near[:, 0]], y[given.near[:, 1]]], np.float32(ATTRACTION) * alike)
        return graph

    def solve(graph: FactorGraph) -> Any:
        found = propagated(graph, damping=0.5, max_iters=settings["sweeps"], tol=0.0, certify=False)
        return found.beliefs["y"][:, 1]

    return PairsRun(make, solve, settings)
