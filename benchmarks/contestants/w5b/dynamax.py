"""dynamax on W5b: its `hmm_smoother` in a jit of the user's, which drops the expected transitions that it adds up.

Its flag for leaving them out is an argument of its own jit, and so cannot be used (dynamax 1.0.3).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from dynamax.hidden_markov_model import hmm_smoother

from benchmarks.contestants.hidden import HiddenRun
from benchmarks.workloads import hidden

PACKAGES = ("dynamax", "jax", "jaxlib")
DTYPE = "float32"


def smooth(start: jax.Array, transition: jax.Array, scores: jax.Array) -> dict[str, jax.Array]:
    """Log likelihood and marginals, from the probabilities and the log densities."""
    found = hmm_smoother(start, transition, scores)
    return {"log_likelihood": found.marginal_loglik, "marginals": found.smoothed_probs}


def build(settings: dict[str, Any]) -> HiddenRun:
    """The contestant for one variant."""
    model = hidden()
    return HiddenRun(smooth, tuple(jnp.asarray(x, DTYPE) for x in (model.start, model.transition, model.node_scores())))
