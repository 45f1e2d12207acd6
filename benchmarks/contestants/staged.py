"""A jitted function whose first call is timed stage by stage: trace, lower, compile.

Law: the outputs are those of `jax.jit(function)`; later calls run the compiled program and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax


class Staged:
    """Compile at the first call, recording the CPU seconds of each stage in `stages`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._jitted = jax.jit(function)
        self._compiled: Callable[..., Any] | None = None
        self.stages: dict[str, float] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Run once and wait for the result."""
        if self._compiled is None:
            traced = self._clocked("trace_s", lambda: self._jitted.trace(*arguments))
            lowered = self._clocked("lower_s", traced.lower)
            self._compiled = self._clocked("compile_s", lowered.compile)
        return jax.block_until_ready(self._compiled(*arguments))

    def _clocked(self, stage: str, action: Callable[[], Any]) -> Any:
        start = time.process_time()
        value = action()
        self.stages[stage] = time.process_time() - start
        return value


class KeyedRun:
    """`run(i)` of a JAX contestant: call `function(key i, data)`, whose outputs are named scalars."""

    def __init__(self, function: Callable[..., Any], data: jax.Array) -> None:
        self._function = Staged(function)
        self._data = data

    @property
    def stages(self) -> dict[str, float]:
        """CPU seconds of the stages of the first call."""
        return self._function.stages

    def __call__(self, i: int) -> dict[str, jax.Array]:
        """One run with key i."""
        return self._function(jax.random.key(i), self._data)
