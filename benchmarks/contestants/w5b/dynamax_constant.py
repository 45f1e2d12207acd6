"""dynamax on W5b with the model as constants of the program, so that each new model is compiled anew.

Its filter multiplies by the transposed matrix; one that is an argument of the program is copied at every step,
one that is a constant is transposed by the compiler.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from benchmarks.contestants.hidden import HiddenRun
from benchmarks.contestants.w5b.dynamax import DTYPE, PACKAGES, smooth
from benchmarks.workloads import hidden

__all__ = ["DTYPE", "PACKAGES", "build"]


def build(settings: dict[str, Any]) -> HiddenRun:
    """The contestant for one variant."""
    model = hidden()
    start, transition = (jnp.asarray(x, DTYPE) for x in (model.start, model.transition))
    return HiddenRun(lambda scores: smooth(start, transition, scores), (jnp.asarray(model.node_scores(), DTYPE),))
