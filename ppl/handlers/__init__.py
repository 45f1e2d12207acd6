"""Handlers: they answer, record or change the statements of a program while it runs.

May import: form, distributions, passes, backends, tracing, language.
"""

from .interventions import do, mask, scale, scope
from .key_reuse import key_guard
from .standard import TraceRecord, block, condition, log_density, replay, seed, substitute, trace

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
