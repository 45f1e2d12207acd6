"""The compile clock: how long this process has compiled, as JAX tells it.

Law: seconds only grow. What other threads compile meanwhile counts too.
"""

from __future__ import annotations

import functools
from typing import Any

import jax

EVENTS = ("/jax/core/compile/jaxpr_to_mlir_module_duration", "/jax/core/compile/backend_compile_duration")
_spent = [0.0]


class Seconds(float):
    """A wall time in seconds, and the part of it in which programs were compiled.

    >>> Seconds(2.0, 1.5).compiling
    1.5
    """

    def __new__(cls, total: float, compiling: float = 0.0) -> Seconds:
        """Keep both."""
        made = super().__new__(cls, total)
        made.compiling = compiling
        return made

    compiling: float


def compile_seconds() -> float:
    """Return the seconds that were spent on compilation since the first call.

    >>> before = compile_seconds()
    >>> _ = jax.jit(lambda x: x + 1.25).lower(0.0).compile()
    >>> compile_seconds() > before
    True
    """
    _listen()
    return _spent[0]


@functools.cache
def _listen() -> None:
    jax.monitoring.register_event_duration_secs_listener(_heard)


def _heard(event: str, seconds: float, **details: Any) -> None:
    if event in EVENTS:
        _spent[0] += seconds
