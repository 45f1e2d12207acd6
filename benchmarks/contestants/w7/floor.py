"""The floor of W7: the log density by hand as one scan over the steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.contestants.cold import ColdRun
from benchmarks.workloads import CHAIN_VALUE, LOG_TWO_PI, chain_data

PACKAGES = ("jax", "jaxlib")
DTYPE = "float32"


def build(settings: dict[str, Any]) -> ColdRun:
    """The contestant for one variant."""
    data = jnp.asarray(chain_data(settings["latents"]), DTYPE)

    def make() -> tuple[Callable[[jax.Array], jax.Array], jax.Array]:
        def log_density(x: jax.Array) -> jax.Array:
            def step(carry: tuple[jax.Array, jax.Array], now: tuple[jax.Array, jax.Array]) -> Any:
                (before, total), (here, y) = carry, now
                total = total - 0.5 * (here - 0.5 * before) ** 2 - 0.5 * (y - here) ** 2 - LOG_TWO_PI
                return (here, total), None

            return lax.scan(step, (jnp.zeros((), DTYPE), jnp.zeros((), DTYPE)), (x, data))[0][1]

        return log_density, jnp.full(settings["latents"], CHAIN_VALUE, DTYPE)

    return ColdRun(make)
