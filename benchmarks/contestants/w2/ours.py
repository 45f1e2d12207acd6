"""lawful on W2: `inference.tempered_smc` on an ordinary program, one run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import models
from benchmarks.workloads import regression
from lawful import inference

PACKAGES = ("lawful", "jax", "jaxlib", "numpyro")
DTYPE = "float32"


def build(settings: dict[str, Any]) -> Callable[[int], dict[str, float]]:
    """The contestant for one variant."""
    return run_of(
        inference.tempered_smc(
            models.logistic,
            particles=settings["particles"],
            steps=settings["steps"],
            kernel=inference.population_walk(),
            chains=settings["chains"],
            keep="last",
        )
    )


def run_of(infer: Any) -> Callable[[int], dict[str, float]]:
    """The run of a plan: its evidence, posterior means and number of temperatures."""
    covariates, labels = regression()
    data = jnp.asarray(covariates, DTYPE), jnp.asarray(labels)

    def run(i: int) -> dict[str, float]:
        result = infer(jax.random.key(i), *data)
        (points,) = result.weighted.values.values()  # after the last resampling all weights are equal
        means = points[0].mean(axis=0)
        told = {"log_evidence": result.log_evidence[0], "temperatures": result.stats["n_stages"][0]}
        return told | {f"mean_{j}": mean for j, mean in enumerate(means)}

    return run
