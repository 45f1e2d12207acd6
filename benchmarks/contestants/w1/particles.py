"""particles (Chopin) on W1: its bootstrap filter in NumPy float64, summaries switched off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import particles
from particles import distributions as dists
from particles import state_space_models as ssm

from benchmarks.workloads import MODELS, StateSpace, observations

PACKAGES = ("particles", "numpy", "numba")
DTYPE = "float64"


def state_space(constants: StateSpace) -> Any:
    """The model as a StateSpaceModel."""

    class Autoregression(ssm.StateSpaceModel):
        """A stationary autoregression with its observation."""

        def PX0(self) -> Any:
            """Law of the first state."""
            return dists.Normal(loc=constants.mean, scale=constants.stationary_scale)

        def PX(self, t: int, xp: np.ndarray) -> Any:
            """Law of the next state."""
            return dists.Normal(
                loc=constants.mean + constants.persistence * (xp - constants.mean), scale=constants.scale
            )

        def PY(self, t: int, xp: np.ndarray, x: np.ndarray) -> Any:
            """Law of the observation."""
            if constants.observation == "volatility":
                return dists.Normal(loc=0.0, scale=np.exp(0.5 * x))
            return dists.Normal(loc=x, scale=constants.noise)

    return Autoregression()


def build(settings: dict[str, Any]) -> Callable[[int], dict[str, float]]:
    """The contestant for one variant."""
    model = ssm.Bootstrap(ssm=state_space(MODELS[settings["model"]]), data=observations(settings["model"]))

    def run(i: int) -> dict[str, float]:
        np.random.seed(i)  # the package draws from NumPy's global generator
        smc = particles.SMC(
            fk=model, N=settings["particles"], resampling="systematic", ESSrmin=0.5, store_history=False, collect="off"
        )
        smc.run()
        return {"log_evidence": smc.logLt, "filtered_mean": float(np.dot(smc.W, smc.X))}

    return run
