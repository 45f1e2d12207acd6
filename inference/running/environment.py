"""Environment: how long something took, compiling and running apart; and whether a person watches.

Law: compiling is counted once, however its parts lie inside each other, and never above the wall time. JAX is listened
to while something is timed, and at no other time.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import jax

SWITCH = "LAWFUL_PROGRESS"  # "0" in the environment: nobody watches
PREFIX = "/jax/core/compile/"  # events of tracing, lowering and compiling

_spans: ContextVar[list[tuple[float, float]] | None] = ContextVar("lawful_compiling", default=None)


def timed(function: Callable[..., Any], *operands: Any) -> tuple[Any, dict[str, float]]:
    """Run a function to its end, and give the times that it took."""
    spans: list[tuple[float, float]] = []
    token, start = _spans.set(spans), time.perf_counter()
    jax.monitoring.register_event_duration_secs_listener(_note)
    try:
        out = jax.block_until_ready(function(*operands))
    finally:
        jax.monitoring.unregister_event_duration_listener(_note)
        _spans.reset(token)
    stop = time.perf_counter()
    return out, times(stop - start, covered([(max(a, start), min(b, stop)) for a, b in spans]))


def covered(spans: list[tuple[float, float]]) -> float:
    """Return the length of the union of intervals.

    >>> covered([(0.0, 2.0), (1.0, 3.0), (1.5, 1.7), (5.0, 6.0)])
    4.0
    """
    total, reached = 0.0, float("-inf")
    for start, stop in sorted(spans):
        if stop > reached:
            total += stop - max(start, reached)
            reached = stop
    return total


def _note(event: str, duration_secs: float, **_: str | int) -> None:
    spans = _spans.get()
    if spans is not None and event.startswith(PREFIX):
        now = time.perf_counter()
        spans.append((now - duration_secs, now))


def times(seconds: float, compiling: float = 0.0) -> dict[str, float]:
    """Tell compiling and running apart, where that was measured."""
    return {"seconds": float(seconds), "compile_seconds": compiling, "run_seconds": float(seconds) - compiling}


def person_watches() -> bool:
    """Tell whether the standard error is a terminal, or this is a notebook, and nobody has said otherwise."""
    if os.environ.get(SWITCH) == "0":
        return False
    return in_notebook() or bool(sys.stderr is not None and sys.stderr.isatty())


def in_notebook() -> bool:
    """Tell whether this process is the kernel of a notebook.

    >>> in_notebook()
    False
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"
