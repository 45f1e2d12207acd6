"""nutpie on a posterior: a PyMC model compiled by numba or JAX in double precision, compiled once and run many times.

Compiler and metric, diagonal or of low rank, are for each posterior those that were faster.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import nutpie
import pymc as pm

from benchmarks.contestants.posteriordb.data import DrawsRun, columns
from benchmarks.contestants.posteriordb.pymc_models import MODELS

PACKAGES = ("nutpie", "pymc", "numba", "arviz-stats")
DTYPE = "float64"
BY_JAX = ("garch-garch11", "hmm_example-hmm_example")  # numba is slower at loops over time
DIAGONAL = ("eight_schools-eight_schools_noncentered", "gp_pois_regr-gp_pois_regr")


def build(settings: dict[str, Any]) -> DrawsRun:
    """The contestant for one posterior; the model is compiled in the first call, as those of the others."""
    name, data, kept = settings["posterior"], columns(settings), list[Any]()
    backend = settings.get("backend") or ("jax" if name in BY_JAX else "numba")
    gradient = {"gradient_backend": "jax"} if backend == "jax" else {}
    metric = settings.get("metric") or ("diag" if name in DIAGONAL else "low_rank")

    def run(i: int) -> dict[str, np.ndarray]:
        if not kept:
            with pm.Model() as model:
                MODELS[name](data)
            kept.append(nutpie.compile_pymc_model(model, backend=backend, **gradient))
        chains = settings["chains"]
        draws = nutpie.sample(
            kept[0], draws=settings["draws"], tune=settings["warmup"], chains=chains, cores=chains, seed=i,
            adaptation=metric, progress_bar=False,
        ).posterior  # fmt: skip
        return {str(name): np.asarray(draws[name]) for name in draws}

    return DrawsRun(run, settings, f"{metric} metric, {backend}")
