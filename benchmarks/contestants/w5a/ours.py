"""lawful on W5a: `propagated` on a factor graph whose edges are two groups of slices; as many sweeps as asked for.

The compiled program is called as `propagated` calls it; what it finds out besides (log Z, beliefs of the factors, the
verdict) stays in.
"""

from __future__ import annotations

from typing import Any

import jax

from benchmarks.contestants.potts import PottsRun
from benchmarks.workloads import COUPLING, potts_scores
from lawful.inference.graphs import FactorGraph, propagated

PACKAGES = ("lawful", "jax", "jaxlib")
DTYPE = "float32"


def build(settings: dict[str, Any]) -> PottsRun:
    """The contestant for one variant."""
    side, states = settings["side"], settings["states"]
    scores = potts_scores(side, states)
    graph = FactorGraph()
    z = graph.variables("z", (side, side), states, scores)
    table = COUPLING * jax.numpy.eye(states, dtype=DTYPE)
    graph.factors("down", [z[:-1], z[1:]], table)
    graph.factors("right", [z[:, :-1], z[:, 1:]], table)

    def run() -> Any:
        found = propagated(graph, damping=0.5, max_iters=settings["sweeps"], tol=0.0, certify=False)
        return found.beliefs["z"]

    return PottsRun(run, settings)
