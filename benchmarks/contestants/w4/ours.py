"""lawful on W4: `inference.mcmc` with `kernels.nuts()` on an ordinary program; the warm-up is its own."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import models
from benchmarks.contestants.chains import ChainRun
from benchmarks.workloads import regression, schools
from lawful import inference
from lawful.inference import kernels

PACKAGES = ("lawful", "jax", "jaxlib", "numpyro", "arviz-stats")
DTYPE = "float32"


def build(settings: dict[str, Any]) -> ChainRun:
    """The contestant for one variant."""
    logistic = settings["model"] == "logistic"
    infer = inference.mcmc(
        models.logistic if logistic else models.schools,
        kernels.nuts(),
        chains=settings["chains"],
        warmup=settings["warmup"],
        draws=settings["draws"],
    )
    data = regression() if logistic else schools()

    def run(key: jax.Array, *data: jax.Array) -> Any:
        draws = infer(key, *data).posterior
        if logistic:
            return draws["coefficients"]
        return np.concatenate([draws["mu"][..., None], np.log(draws["tau"])[..., None], draws["t"]], axis=-1)

    return ChainRun(run, (jnp.asarray(data[0], DTYPE), jnp.asarray(data[1])))
