"""lawful on W3a: `inference.mcmc` with a random walk of the given covariance on an ordinary program."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import models
from benchmarks.contestants.chains import ChainRun
from benchmarks.workloads import PREDICTORS, regression, regression_laplace, regression_starts
from lawful import inference
from lawful.inference import kernels

PACKAGES = ("lawful", "jax", "jaxlib", "numpyro", "arviz-stats")
DTYPE = "float32"


def build(settings: dict[str, Any]) -> ChainRun:
    """The contestant for one variant."""
    walk = kernels.random_walk(2.38 / math.sqrt(PREDICTORS), covariance=regression_laplace()[1])
    infer = inference.mcmc(
        models.logistic,
        kernels.mh(walk),
        chains=settings["chains"],
        warmup=settings["warmup"],
        draws=settings["draws"],
        init={"coefficients": regression_starts(settings["chains"])},
    )
    covariates, labels = regression()

    def run(key: jax.Array, *data: jax.Array) -> np.ndarray:
        return infer(key, *data).posterior["coefficients"]

    return ChainRun(run, (jnp.asarray(covariates, DTYPE), jnp.asarray(labels)))
