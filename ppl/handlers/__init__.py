"""Handlers: they answer, record or change the statements of a program while it runs.

May import: form, distributions, passes, backends, tracing, language.
"""

from .standard import (
    TraceRecord,
    block,
    condition,
    do,
    key_guard,
    log_density,
    mask,
    replay,
    scale,
    scope,
    seed,
    substitute,
    trace,
)

__all__ = [
    "TraceRecord",
    "block",
    "condition",
    "do",
    "key_guard",
    "log_density",
    "mask",
    "replay",
    "scale",
    "scope",
    "seed",
    "substitute",
    "trace",
]
