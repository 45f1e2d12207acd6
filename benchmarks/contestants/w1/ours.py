"""lawful on W1: `inference.smc` on an ordinary program, one run, only the last particles kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import models
from benchmarks.workloads import observations
from lawful import inference

PACKAGES = ("lawful", "jax", "jaxlib", "numpyro")
DTYPE = "float32"


def build(settings: dict[str, Any]) -> Callable[[int], dict[str, float]]:
    """The contestant for one variant."""
    program = {"LG": models.lg, "SV": models.sv}[settings["model"]]
    infer = inference.smc(program, particles=settings["particles"], runs=1, keep="last")
    data = jnp.asarray(observations(settings["model"]), DTYPE)

    def run(i: int) -> dict[str, float]:
        result = infer(jax.random.key(i), data)
        (last,) = result.weighted.values.values()
        weight = np.exp(result.weighted.log_weight[0] - result.weighted.log_weight[0].max())
        mean = np.dot(weight, last[0]) / weight.sum()
        return {"log_evidence": result.log_evidence[0], "filtered_mean": mean}

    return run
