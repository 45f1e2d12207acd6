"""lawful on W7: a Python loop of named sites, scored as one vector; the steps are rolled into a loop by the library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import lawful
from benchmarks.contestants.cold import ColdRun
from benchmarks.models import unrolled_chain
from benchmarks.workloads import CHAIN_VALUE, chain_data

PACKAGES = ("lawful", "jax", "jaxlib", "numpyro")
DTYPE = "float32"


def build(settings: dict[str, Any]) -> ColdRun:
    """The contestant for one variant."""
    data = jnp.asarray(chain_data(settings["latents"]), DTYPE)

    def make() -> tuple[Callable[[jax.Array], jax.Array], jax.Array]:
        density = lawful.density(unrolled_chain(), data)
        return density.logp_vector, jnp.full(settings["latents"], CHAIN_VALUE, DTYPE)

    return ColdRun(make)
