"""lawful on W3b: `inference.mcmc` with single-site moves from the prior, on an ordinary program."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import models
from benchmarks.contestants.chains import ChainRun, told_in_order
from benchmarks.workloads import mixture, mixture_starts
from lawful import inference
from lawful.inference import kernels

PACKAGES = ("lawful", "jax", "jaxlib", "numpyro", "arviz-stats")
DTYPE = "float32"


def build(settings: dict[str, Any]) -> ChainRun:
    """The contestant for one variant; the first half of its draws is dropped."""
    means, labels = mixture_starts(settings["chains"])
    infer = inference.mcmc(
        models.labelled_mixture,
        kernels.mh(kernels.single_site()),
        chains=settings["chains"],
        warmup=0,
        draws=settings["moves"] // settings["thin"],
        thin=settings["thin"],
        init={"mean": means, "label": labels},
    )

    def run(key: jax.Array, y: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        found = infer(key, y).posterior
        return found["mean"][:, settings["drop"] :], found["label"][:, settings["drop"] :]

    return ChainRun(run, (jnp.asarray(mixture(), DTYPE),), told_in_order)
