"""PGMax on W5e: sum-product by its own loop, on current JAX.

Its module `jax.lib.xla_bridge` is gone from JAX, and a stand-in takes its place; nothing else is changed. Making the
graph is three steps: the factors, its state, and its inferer; a run that makes a graph compiles it as well, since its
loop is compiled anew for each inferer.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import jax.lib
import numpy as np

from benchmarks.contestants.pairs import PairsRun
from benchmarks.workloads import ATTRACTION, REPULSION, pairs

jax.lib.xla_bridge = SimpleNamespace(get_backend=lambda: SimpleNamespace(platform="cpu"))

from pgmax import fgraph, fgroup, infer, vgroup  # noqa: E402 the stand-in has to be there first

PACKAGES = ("pgmax", "jax", "jaxlib")
DTYPE = "float32"


def build(settings: dict[str, Any]) -> PairsRun:
    """The contestant for one variant."""
    given = pairs(settings["variables"], settings["bag"])
    scores = np.stack([np.zeros_like(given.odds), given.odds], axis=1)

    def make() -> Any:
        variables = vgroup.NDVarArray(num_states=2, shape=given.odds.shape)
        graph = fgraph.FactorGraph(variable_groups=[variables])
        for edges, alike in ((given.cliques, -REPULSION), (given.near, ATTRACTION)):
            scopes = [[variables[a], variables[b]] for a, b in edges.tolist()]
            graph.add_factors(
                fgroup.PairwiseFactorGroup(variables_for_factors=scopes, log_potential_matrix=alike * np.eye(2))
            )
        inferer = infer.build_inferer(graph.bp_state, backend="bp")

        @jax.jit
        def marginals(evidence: Any) -> Any:
            arrays = inferer.init(evidence_updates={variables: evidence})
            arrays = inferer.run(arrays, num_iters=settings["sweeps"], damping=0.5, temperature=1.0)
            return infer.get_marginals(inferer.get_beliefs(arrays))[variables]

        return marginals

    return PairsRun(make, lambda marginals: marginals(scores)[:, 1], settings)
