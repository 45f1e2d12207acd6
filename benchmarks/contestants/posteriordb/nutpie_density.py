"""nutpie on a density that the library exports, compiled by JAX: for the equation of prey and predators.

PyMC's own loop takes a minute and more for a run of it, by numba and by JAX; this is nutpie's `from_pyfunc`,
as `Density.to_nutpie` calls it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import nutpie

import lawful
from benchmarks.contestants.posteriordb.data import DrawsRun, columns, start
from benchmarks.studies.posteriordb import POSTERIORS

PACKAGES = ("nutpie", "lawful", "jax", "jaxlib", "arviz-stats")
DTYPE = "float64"


def build(settings: dict[str, Any]) -> DrawsRun:
    """The contestant for one posterior; the density is compiled in the first call."""
    jax.config.update("jax_enable_x64", True)
    posterior, kept = POSTERIORS[settings["posterior"]], list[Any]()
    arguments, chains = posterior.arguments(columns(settings)), settings["chains"]
    metric = settings.get("metric", "low_rank")

    def model() -> Any:
        density, values = lawful.density(posterior.program, *arguments), start(settings)
        found = density.to_nutpie()
        if values is None:
            return found
        point = np.asarray(density.ravel(density.unconstrain(values))[0])
        return replace(found, _make_initial_points=lambda seed: point)

    def run(i: int) -> dict[str, np.ndarray]:
        if not kept:
            kept.append(model())
        draws = nutpie.sample(
            kept[0], draws=settings["draws"], tune=settings["warmup"], chains=chains, cores=chains, seed=i,
            adaptation=metric, progress_bar=False,
        ).posterior  # fmt: skip
        return {str(name): np.asarray(draws[name]) for name in draws}

    return DrawsRun(run, settings, f"{metric} metric, the library's density")
