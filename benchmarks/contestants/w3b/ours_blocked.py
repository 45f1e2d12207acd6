"""lawful on W3b in blocks: all labels from their conditionals, then walks of the means; counts label updates."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import models
from benchmarks.contestants.chains import ChainRun
from benchmarks.workloads import LABELLED, mixture, mixture_starts
from lawful import inference
from lawful.inference import kernels

PACKAGES = ("lawful", "jax", "jaxlib", "numpyro", "arviz-stats")
DTYPE = "float32"
STEP = 0.24  # 2.38 / sqrt(3) times the standard deviation of a mean given the labels, about 1 / sqrt(34)
WALKS = 8  # for each draw of the labels


def build(settings: dict[str, Any]) -> ChainRun:
    """The contestant for one variant: as many sweeps as NumPyro takes."""
    means, labels = mixture_starts(settings["chains"])
    walk = kernels.repeat(kernels.on("mean", kernels.random_walk(STEP)), WALKS)
    infer = inference.mcmc(
        models.labelled_mixture,
        kernels.cycle(kernels.on("label", kernels.gibbs()), walk),
        chains=settings["chains"],
        warmup=settings["warmup_sweeps"],
        draws=settings["sweeps"],
        init={"mean": means, "label": labels},
    )

    def run(key: jax.Array, y: jax.Array) -> np.ndarray:
        return infer(key, y).posterior["mean"]

    sweeps = settings["chains"] * (settings["warmup_sweeps"] + settings["sweeps"])
    return ChainRun(run, (jnp.asarray(mixture(), DTYPE),), work_units=sweeps * LABELLED)
