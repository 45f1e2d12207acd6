"""lawful on MB: the programs of `lawful.models.monad_bayes`, each by one of the three algorithms of the benchmark.

SMC100 is 100 particles that are resampled at every factor, MH100 100 single-site moves of one chain, RMSMC10-1 ten
particles with one single-site move after every factor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import monad_bayes as workload
from lawful import inference
from lawful.inference import kernels
from lawful.models import monad_bayes

PACKAGES = ("lawful", "jax", "jaxlib", "numpyro")
DTYPE = "float32"

PROGRAMS = {
    "LR": monad_bayes.logistic_regression,
    "HMM": monad_bayes.hidden_markov,
    "LDA": monad_bayes.latent_dirichlet,
}


def build(settings: dict[str, Any]) -> Callable[[int], dict[str, float]]:
    """The contestant for one variant."""
    model, algorithm = settings["model"], settings["algorithm"]
    columns = workload.data(model, settings["length"])
    data = tuple(jnp.asarray(x, DTYPE if x.dtype.kind == "f" else "int32") for x in columns)
    args = (*data, workload.DOCUMENTS) if model == "LDA" else data
    if algorithm == "MH100":
        chain = inference.mcmc(PROGRAMS[model], inference.kernels.mh(), chains=1, warmup=0, draws=100)

        def moves(i: int) -> dict[str, float]:
            return {"log_density": chain(jax.random.key(i), *args).stats["lp"][0, -1]}

        return moves
    move = {"SMC100": None, "RMSMC10-1": kernels.mh()}[algorithm]
    particles = {"SMC100": 100, "RMSMC10-1": 10}[algorithm]
    plan = inference.smc(PROGRAMS[model], particles=particles, resample_below=None, keep="last", move=move)

    def filter_once(i: int) -> dict[str, float]:
        return {"log_evidence": plan(jax.random.key(i), *args).log_evidence[0]}

    return filter_once
