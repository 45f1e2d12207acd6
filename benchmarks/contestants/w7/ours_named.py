"""lawful on W7 with a position of one number a site: the density is rolled, but the numbers are packed one by one."""

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

    def make() -> tuple[Callable[[Any], jax.Array], Any]:
        density = lawful.density(unrolled_chain(), data)
        return density.logp, {name: jnp.asarray(CHAIN_VALUE, DTYPE) for name in density.names}

    return ColdRun(make)
