"""Timed program: a compiled function that knows how long compiling took, and how long it ran.

Law: the answers are those of the function.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax


class Program:
    """A function that is compiled ahead of its first run with arguments of some shapes.

    Attributes:
        seconds: what compiling took.
        busy: seconds in which the compiled function ran.
    """

    def __init__(
        self, function: Callable[..., Any], donated: tuple[int, ...] = (), options: dict[str, Any] | None = None
    ) -> None:
        """Keep the function; `options` are those of XLA, as of `lawful.backends.compile_options.sparing`."""
        self.function = jax.jit(function, donate_argnums=donated)
        self.options = options
        self.ready: dict[Any, Callable[..., Any]] = {}
        self.seconds = self.busy = 0.0

    def __call__(self, *operands: Any) -> Any:
        """Run, to the end."""
        run = self.function if jax.config.jax_disable_jit else self._compiled(operands)
        start = time.perf_counter()
        found = jax.block_until_ready(run(*operands))
        self.busy += time.perf_counter() - start
        return found

    def _compiled(self, operands: tuple[Any, ...]) -> Callable[..., Any]:
        leaves, tree = jax.tree.flatten(operands)
        kind = tree, *((x.shape, x.dtype, getattr(x, "weak_type", False), getattr(x, "sharding", None)) for x in leaves)
        if kind not in self.ready:
            start = time.perf_counter()
            self.ready[kind] = self.function.lower(*operands).compile(self.options)
            self.seconds += time.perf_counter() - start
        return self.ready[kind]
