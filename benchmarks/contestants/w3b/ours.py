"""lawful on W3b: `inference.mcmc` without a kernel, which sums the labels out and moves the means by NUTS."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import models
from benchmarks.contestants.chains import ChainRun, told_in_order
from benchmarks.workloads import mixture, mixture_starts
from lawful import inference

PACKAGES = ("lawful", "jax", "jaxlib", "numpyro", "arviz-stats")
DTYPE = "float32"


def build(settings: dict[str, Any], **options: Any) -> ChainRun:
    """The contestant for one variant: as many steps as NumPyro takes; `options` are further ones of `mcmc`."""
    means, labels = mixture_starts(settings["chains"])
    infer = inference.mcmc(
        models.labelled_mixture,
        chains=settings["chains"],
        warmup=settings["warmup_sweeps"],
        draws=settings["sweeps"],
        init={"mean": means, "label": labels},
        **options,
    )

    def run(key: jax.Array, y: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        found = infer(key, y).posterior
        return found["mean"], found["label"]

    return ChainRun(run, (jnp.asarray(mixture(), DTYPE),), told_in_order)
