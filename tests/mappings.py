"""Compiled programs of a process that runs many tests: they are let go before it has no memory mapping left.

A compiled program takes up to some hundred mappings. Linux allows 65,530 to a process; after that XLA can load no
program, or kills the process. Tests leave what their files made out of searches for garbage, compiled programs too.
"""

import gc
from pathlib import Path
from typing import Any

import jax

OWN, LIMIT = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")  # of Linux; elsewhere nothing is limited so
EVERY = 50  # compilations between two looks, which read all mappings: so many rarely take a fifth of the limit
_compiled = 0


def count_compilations() -> None:
    """Count what this process compiles or reads from the cache of compiled programs."""

    def compiled(event: str, seconds: float, **about: Any) -> None:
        global _compiled
        _compiled += event == "/jax/core/compile/backend_compile_duration"

    jax.monitoring.register_event_duration_secs_listener(compiled)


def in_use() -> int:
    """Count the mappings of this process; 0 where the system does not tell."""
    return OWN.read_bytes().count(b"\n") if OWN.exists() else 0


def mind(most: int | None = None) -> None:
    """Let compiled programs go where more than `most` mappings are in use, by default half of what the system allows.

    First those that nothing refers to, then those that JAX keeps for functions which may be called again.
    """
    global _compiled
    if _compiled < EVERY or not LIMIT.exists():
        return
    _compiled = 0
    most = int(LIMIT.read_text()) // 2 if most is None else most
    if in_use() <= most:
        return
    gc.unfreeze()
    gc.collect()
    if in_use() > most:
        jax.clear_caches()
        gc.collect()
    gc.freeze()
