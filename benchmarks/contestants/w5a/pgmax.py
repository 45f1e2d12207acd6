"""PGMax on W5a: sum-product by its own loop, on current JAX.

Its module `jax.lib.xla_bridge` is gone from JAX, and a stand-in takes its place; nothing else is changed.
"""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import jax
import jax.lib
import numpy as np

from benchmarks.contestants.potts import PottsRun
from benchmarks.workloads import COUPLING, potts_scores

jax.lib.xla_bridge = SimpleNamespace(get_backend=lambda: SimpleNamespace(platform="cpu"))

from pgmax import fgraph, fgroup, infer, vgroup  # noqa: E402 the stand-in has to be there first

PACKAGES = ("pgmax", "jax", "jaxlib")
DTYPE = "float32"


def build(settings: dict[str, Any]) -> PottsRun:
    """The contestant for one variant."""
    side, states = settings["side"], settings["states"]
    variables = vgroup.NDVarArray(num_states=states, shape=(side, side))
    graph = fgraph.FactorGraph(variable_groups=[variables])
    cells = list(itertools.product(range(side), range(side)))
    pairs = [[variables[i, j], variables[i + 1, j]] for i, j in cells if i + 1 < side]
    pairs += [[variables[i, j], variables[i, j + 1]] for i, j in cells if j + 1 < side]
    graph.add_factors(
        fgroup.PairwiseFactorGroup(variables_for_factors=pairs, log_potential_matrix=COUPLING * np.eye(states))
    )
    inferer = infer.build_inferer(graph.bp_state, backend="bp")
    scores = potts_scores(side, states)

    @jax.jit
    def marginals(evidence: Any) -> Any:
        arrays = inferer.init(evidence_updates={variables: evidence})
        arrays = inferer.run(arrays, num_iters=settings["sweeps"], damping=0.5, temperature=1.0)
        return infer.get_marginals(inferer.get_beliefs(arrays))[variables]

    return PottsRun(lambda: marginals(scores), settings)
