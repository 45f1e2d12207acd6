"""lawful on W5e: `propagated` on a graph of two groups of pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.contestants.pairs import PairsRun
from benchmarks.workloads import ATTRACTION, REPULSION, pairs
from lawful.inference.graphs import FactorGraph, propagated

PACKAGES = ("lawful", "jax", "jaxlib")
DTYPE = "float32"


def pairs_graph(settings: dict[str, Any]) -> Callable[[], FactorGraph]:
    """A function that makes the graph of pairs."""
    given = pairs(settings["variables"], settings["bag"])
    scores = np.stack([np.zeros_like(given.odds), given.odds], axis=1)
    alike = np.eye(2, dtype=DTYPE)

    def make() -> FactorGraph:
        graph = FactorGraph()
        y = graph.variables("y", given.odds.shape, 2, scores)
        graph.factors("clique", [y[given.cliques[:, 0]], y[given.cliques[:, 1]]], np.float32(-REPULSION) * alike)
        graph.factors("near", [y[given.near[:, 0]], y[given.near[:, 1]]], np.float32(ATTRACTION) * alike)
        return graph

    return make


def solver(settings: dict[str, Any]) -> Callable[[FactorGraph], Any]:
    """A function of a graph that gives the probabilities of ones."""

    def solve(graph: FactorGraph) -> Any:
        found = propagated(graph, damping=0.5, max_iters=settings["sweeps"], tol=0.0, certify=False)
        return found.beliefs["y"][:, 1]

    return solve


def build(settings: dict[str, Any]) -> PairsRun:
    """The contestant for one variant."""
    return PairsRun(pairs_graph(settings), solver(settings), settings)
