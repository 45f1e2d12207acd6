"""A contestant whose work is to build: each run traces, lowers and compiles a program that JAX has never seen.

Law: `run(i)` makes everything anew; the stages are those of the last run, in CPU seconds, and the outputs come from one
execution of what was compiled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

type Scored = tuple[jax.Array, Any]  # the value, and the gradient as a pytree


class ColdRun:
    """`run(i)`: call `make()`, which gives a new function of a position and the position, and compile its gradient."""

    def __init__(self, make: Callable[[], tuple[Callable[[Any], jax.Array], Any]]) -> None:
        self._make = make
        self.stages: dict[str, float] = {}

    def __call__(self, i: int) -> dict[str, jax.Array]:
        """Build once from nothing and run once."""
        clock = [time.process_time()]

        def done(stage: str) -> None:
            clock.append(time.process_time())
            self.stages[stage] = clock[-1] - clock[-2]

        function, position = self._make()
        traced = jax.jit(jax.value_and_grad(function)).trace(position)
        done("trace_s")
        lowered = traced.lower()
        done("lower_s")
        compiled = lowered.compile()
        done("compile_s")
        value, gradient = jax.block_until_ready(compiled(position))
        total = sum(jnp.sum(leaf) for leaf in jax.tree.leaves(gradient))
        return {"log_density": value, "gradient_sum": total}
