"""lawful on W5e with bags as counts: the graph of pairs, folded; other loopy beliefs of the same joint distribution."""

from __future__ import annotations

from typing import Any

from benchmarks.contestants.pairs import PairsRun
from benchmarks.contestants.w5e.ours import DTYPE as DTYPE
from benchmarks.contestants.w5e.ours import PACKAGES as PACKAGES
from benchmarks.contestants.w5e.ours import pairs_graph, solver
from benchmarks.workloads import count_marginals
from lawful.inference.graphs import folded


def build(settings: dict[str, Any]) -> PairsRun:
    """The contestant for one variant; where a run makes the graph, it folds it as well."""
    make = pairs_graph(settings)
    return PairsRun(lambda: folded(make()), solver(settings), settings, count_marginals)
