"""NumPyro on W4 with its whole run inside one `jax.jit`, which nothing documents and which saves compiling anew."""

from __future__ import annotations

from typing import Any

import jax

from benchmarks.contestants.chains import ChainRun
from benchmarks.contestants.staged import Staged
from benchmarks.contestants.w4 import numpyro

PACKAGES = numpyro.PACKAGES
DTYPE = numpyro.DTYPE


def build(settings: dict[str, Any]) -> ChainRun:
    """The contestant for one variant."""

    def run(key: jax.Array, *data: jax.Array) -> jax.Array:
        mcmc = numpyro.sampler(settings)
        mcmc.run(key, *data)
        return numpyro.columns(mcmc.get_samples(group_by_chain=True), settings)

    return numpyro.chain_run(Staged(run), settings)
