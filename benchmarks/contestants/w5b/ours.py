"""lawful on W5b: `marginals` of a chain of scores."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.contestants.hidden import HiddenRun
from benchmarks.workloads import hidden
from lawful.inference.graphs.chains import chain, marginals

PACKAGES = ("lawful", "jax", "jaxlib")
DTYPE = "float32"


def smooth(start: jax.Array, transition: jax.Array, scores: jax.Array) -> dict[str, jax.Array]:
    """Log likelihood and marginals, from the probabilities and the log densities."""
    found = marginals(chain(scores, jnp.log(transition), initial=jnp.log(start)))
    return {"log_likelihood": found.log_z, "marginals": found.node}


def build(settings: dict[str, Any]) -> HiddenRun:
    """The contestant for one variant."""
    model = hidden()
    return HiddenRun(smooth, tuple(jnp.asarray(x, DTYPE) for x in (model.start, model.transition, model.node_scores())))
