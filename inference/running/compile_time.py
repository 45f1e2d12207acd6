"""Compile time: the seconds of a run that go into tracing and compiling, told apart from those that compute.

Law: compiling is counted once, however its parts lie inside each other, and never above the wall time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import jax

PREFIX = "/jax/core/compile/"  # events of tracing, lowering and compiling

_spans: ContextVar[list[tuple[float, float]] | None] = ContextVar("lawful_compiling", default=None)


class Seconds(float):
    """Wall time in seconds; `compiling` of them went into tracing and compiling.

    >>> Seconds(3.0, 2.0).compiling, Seconds(3.0, 2.0) + 1.0
    (2.0, 4.0)
    """

    compiling: float

    def __new__(cls, seconds: float, compiling: float = 0.0) -> Seconds:
        """Make one of both numbers."""
        made = super().__new__(cls, seconds)
        made.compiling = compiling
        return made


def timed(function: Callable[..., Any], *operands: Any) -> tuple[Any, Seconds]:
    """Run a function to its end and give the wall time in seconds, and how much of it compiled."""
    spans: list[tuple[float, float]] = []
    token, start = _spans.set(spans), time.perf_counter()
    try:
        out = jax.block_until_ready(function(*operands))
    finally:
        _spans.reset(token)
    stop = time.perf_counter()
    return out, Seconds(stop - start, covered([(max(a, start), min(b, stop)) for a, b in spans]))


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


jax.monitoring.register_event_duration_secs_listener(_note)
