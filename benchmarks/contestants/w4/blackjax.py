"""BlackJAX on W4: `window_adaptation` and `nuts` by its documentation, chains by `vmap`, the whole run one program.

The chains start within two of the origin, as those of Stan and NumPyro do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import blackjax
import jax
import jax.numpy as jnp

from benchmarks.contestants.chains import ChainRun
from benchmarks.contestants.staged import Staged
from benchmarks.contestants.w4 import densities
from benchmarks.workloads import regression, schools

PACKAGES = ("blackjax", "jax", "jaxlib", "arviz-stats")
DTYPE = "float32"


def chains_program(
    density: Callable[..., jax.Array], size: int, chains: int, warmup: int, draws: int
) -> Callable[..., jax.Array]:
    """The chains as a function of a key and the data."""

    def run(key: jax.Array, *data: jax.Array) -> jax.Array:
        def log_density(x: jax.Array) -> jax.Array:
            return density(x, *data)

        def chain(key: jax.Array) -> jax.Array:
            start_key, warm_key, key = jax.random.split(key, 3)
            start = jax.random.uniform(start_key, (size,), minval=-2.0, maxval=2.0)
            warm = blackjax.window_adaptation(blackjax.nuts, log_density)
            (state, tuned), _ = warm.run(warm_key, start, num_steps=warmup)
            step = blackjax.nuts(log_density, **tuned).step

            def draw(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
                state, _ = step(key, state)
                return state, state.position

            return jax.lax.scan(draw, state, jax.random.split(key, draws))[1]

        return jax.vmap(chain)(jax.random.split(key, chains))

    return run


def build(settings: dict[str, Any]) -> ChainRun:
    """The contestant for one variant."""
    logistic = settings["model"] == "logistic"
    density, data = (densities.logistic, regression()) if logistic else (densities.schools, schools())
    size = 20 if logistic else 10
    program = chains_program(density, size, settings["chains"], settings["warmup"], settings["draws"])
    return ChainRun(Staged(program), tuple(jnp.asarray(x, DTYPE) for x in data))
