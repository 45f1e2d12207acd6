"""nutpie on W4: its sampler on a PyMC model compiled by numba in double precision, compiled once and run many times."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import nutpie
import pymc as pm

from benchmarks.contestants.chains import ChainRun
from benchmarks.workloads import PREDICTORS, regression, schools

PACKAGES = ("nutpie", "pymc", "numba", "arviz-stats")
DTYPE = "float64"


def model(name: str) -> pm.Model:
    """The model of one variant."""
    with pm.Model() as found:
        if name == "logistic":
            covariates, labels = regression()
            x = pm.Normal("coefficients", 0.0, 1.0, shape=PREDICTORS)
            pm.Bernoulli("label", logit_p=pm.math.dot(covariates, x), observed=labels)
        else:
            observed, scales = schools()
            mu, tau = pm.Normal("mu", 0.0, 5.0), pm.HalfCauchy("tau", 5.0)
            t = pm.Normal("t", 0.0, 1.0, shape=8)
            pm.Normal("y", mu + tau * t, scales, observed=observed)
    return found


def build(settings: dict[str, Any]) -> ChainRun:
    """The contestant for one variant; the model is compiled in the first call, as those of the others."""
    kept: list[Any] = []

    def run(key: jax.Array) -> np.ndarray:
        if not kept:
            kept.append(nutpie.compile_pymc_model(model(settings["model"])))
        trace = nutpie.sample(
            kept[0], draws=settings["draws"], tune=settings["warmup"], chains=settings["chains"], progress_bar=False,
            seed=int(jax.random.key_data(key)[-1]), cores=settings["chains"],
        )  # fmt: skip
        draws = trace.posterior
        if settings["model"] == "logistic":
            return np.asarray(draws["coefficients"])
        parts = [np.asarray(draws["mu"])[..., None], np.log(np.asarray(draws["tau"]))[..., None]]
        return np.concatenate([*parts, np.asarray(draws["t"])], axis=-1)

    return ChainRun(run, ())
