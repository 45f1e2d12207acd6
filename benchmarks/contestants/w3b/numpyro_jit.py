"""NumPyro on W3b with its whole run inside one `jax.jit`, which nothing documents and which saves compiling anew."""

from __future__ import annotations

from typing import Any

import jax

from benchmarks.contestants.chains import ChainRun
from benchmarks.contestants.staged import Staged
from benchmarks.contestants.w3b import numpyro

PACKAGES = numpyro.PACKAGES
DTYPE = numpyro.DTYPE


def build(settings: dict[str, Any]) -> ChainRun:
    """The contestant for one variant."""

    def run(key: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        mcmc = numpyro.sampler(settings)
        mcmc.run(key, y)
        found = mcmc.get_samples(group_by_chain=True)
        return found["mean"], found["label"]

    return numpyro.chain_run(Staged(run))
