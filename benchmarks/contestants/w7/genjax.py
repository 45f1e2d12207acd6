"""GenJAX on W7: the same Python loop of addressed choices, scored by `assess`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from genjax import gen, normal

from benchmarks.contestants.cold import ColdRun
from benchmarks.workloads import CHAIN_VALUE, chain_data

PACKAGES = ("genjax", "jax", "jaxlib")
DTYPE = "float32"


def build(settings: dict[str, Any]) -> ColdRun:
    """The contestant for one variant."""
    n = settings["latents"]
    data = jnp.asarray(chain_data(n), DTYPE)

    def make() -> tuple[Callable[[Any], jax.Array], Any]:
        @gen
        def model() -> None:
            mean: Any = 0.0
            for i in range(n):
                x = normal(mean, 1.0) @ f"x{i}"
                normal(x, 1.0) @ f"y{i}"
                mean = 0.5 * x

        observed = {f"y{i}": data[i] for i in range(n)}

        def function(position: Any) -> jax.Array:
            return model.assess({**position, **observed})[0]

        return function, {f"x{i}": jnp.asarray(CHAIN_VALUE, DTYPE) for i in range(n)}

    return ColdRun(make)
