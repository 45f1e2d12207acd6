"""lawful on W6: `em.path` of Gaussian mixtures of experts, the iteration that its fits are made of."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contestants.experts import ExpertsRun
from benchmarks.workloads import EXPERT_ITERATIONS, EXPERT_RIDGE, GATE_RIDGE, experts, experts_start
from lawful.models.gaussian_moe.em import Experts, Limits, path
from lawful.models.gaussian_moe.rows import Rows, rows_of

PACKAGES = ("lawful", "jax", "jaxlib", "numpyro")
DTYPE = "float64"


def build(settings: dict[str, Any], dtype: str = DTYPE) -> ExpertsRun:
    """The contestant for one variant."""
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    (x, y), start = experts(), experts_start()
    order = [*range(1, x.shape[1]), 0]  # lawful has the ones last

    def array(values: Any) -> jax.Array:
        return jnp.asarray(np.asarray(values), dtype)

    begin = Experts(array(start.gate.T[:, order]), array(start.lines.T[:, order]), array(start.deviations**2))
    limits = Limits(array(1e-12), ridge=array(EXPERT_RIDGE), gate_ridge=array(GATE_RIDGE))
    rows = rows_of(array(x[:, 1:]), array(y))

    def run(begin: Experts, rows: Rows) -> jax.Array:
        return path(begin, rows, limits, EXPERT_ITERATIONS)[1]

    return ExpertsRun(run, (begin, rows))
