"""NumPyro on W7: the same Python loop of named sites, scored by its `log_density`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.infer.util import log_density

from benchmarks.contestants.cold import ColdRun
from benchmarks.workloads import CHAIN_VALUE, chain_data

PACKAGES = ("numpyro", "jax", "jaxlib")
DTYPE = "float32"


def build(settings: dict[str, Any]) -> ColdRun:
    """The contestant for one variant."""
    n = settings["latents"]
    data = jnp.asarray(chain_data(n), DTYPE)

    def make() -> tuple[Callable[[Any], jax.Array], Any]:
        def model(y: jax.Array) -> None:
            mean: Any = 0.0
            for i in range(n):
                x = numpyro.sample(f"x{i}", dist.Normal(mean, 1.0))
                numpyro.sample(f"y{i}", dist.Normal(x, 1.0), obs=y[i])
                mean = 0.5 * x

        def function(position: Any) -> jax.Array:
            return log_density(model, (data,), {}, position)[0]

        return function, {f"x{i}": jnp.asarray(CHAIN_VALUE, DTYPE) for i in range(n)}

    return ColdRun(make)
