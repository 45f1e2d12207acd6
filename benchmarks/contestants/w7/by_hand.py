"""W7 by hand as it is written in Python: one term a site, no loop in the compiled program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.contestants.cold import ColdRun
from benchmarks.workloads import CHAIN_VALUE, LOG_TWO_PI, chain_data

PACKAGES = ("jax", "jaxlib")
DTYPE = "float32"


def build(settings: dict[str, Any]) -> ColdRun:
    """The contestant for one variant."""
    n = settings["latents"]
    data = [float(y) for y in chain_data(n)]

    def make() -> tuple[Callable[[jax.Array], jax.Array], jax.Array]:
        def log_density(x: jax.Array) -> jax.Array:
            total, before = jnp.zeros((), DTYPE), 0.0
            for i in range(n):
                here = x[i]
                total = total - 0.5 * (here - 0.5 * before) ** 2 - 0.5 * (data[i] - here) ** 2 - LOG_TWO_PI
                before = here
            return total

        return log_density, jnp.full(n, CHAIN_VALUE, DTYPE)

    return ColdRun(make)
