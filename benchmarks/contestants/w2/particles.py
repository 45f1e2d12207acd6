"""particles (Chopin) on W2: its adaptive tempering in NumPy float64, history and summaries switched off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

np.float = float  # the package uses an alias that NumPy dropped

import particles  # noqa: E402 after the alias
from particles import distributions as dists  # noqa: E402 after the alias
from particles import smc_samplers as ssps  # noqa: E402 after the alias

from benchmarks.workloads import PREDICTORS, regression  # noqa: E402 after the alias

PACKAGES = ("particles", "numpy", "numba")
DTYPE = "float64"


class Logistic(ssps.StaticModel):
    """The model of W2, its likelihood for all particles at once."""

    def __init__(self) -> None:
        covariates, labels = regression()
        self.signed = (covariates * (1 - 2 * labels)[:, None]).T
        super().__init__(
            data=labels,
            prior=dists.StructDist({"b": dists.MvNormal(loc=np.zeros(PREDICTORS), cov=np.eye(PREDICTORS))}),
        )

    def loglik(self, theta: Any, t: int | None = None) -> np.ndarray:
        """Log likelihood of each particle."""
        return -np.logaddexp(0.0, theta["b"] @ self.signed).sum(axis=1)


def build(settings: dict[str, Any]) -> Callable[[int], dict[str, float]]:
    """The contestant for one variant."""
    model, chains, n = Logistic(), settings["chains"], settings["particles"]

    def run(i: int) -> dict[str, float]:
        np.random.seed(i)  # the package draws from NumPy's global generator
        if chains is None:
            move = ssps.AdaptiveMCMCSequence(len_chain=settings["steps"] + 1)
            fk = ssps.AdaptiveTempering(model=model, wastefree=False, move=move)
        else:
            fk = ssps.AdaptiveTempering(model=model, wastefree=True, len_chain=n // chains)
        smc = particles.SMC(fk=fk, N=n if chains is None else chains, store_history=False, collect="off", verbose=False)
        smc.run()
        means = smc.W @ smc.X.theta["b"]
        told = {"log_evidence": smc.logLt, "temperatures": len(smc.X.shared["exponents"]) - 1}
        return told | {f"mean_{j}": mean for j, mean in enumerate(means)}

    return run
