"""Handlers: they answer, record or change the statements of a program while it runs.

May import: form, distributions, passes, backends, tracing, language.
"""

from .given_values import condition, do, log_density, replay, substitute
from .key_reuse import key_guard
from .standard import TraceRecord, block, seed, trace
from .weights_and_names import mask, scale, scope

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
