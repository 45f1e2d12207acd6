"""Uncollected: no collection of garbage while thousands of nodes are made, all of which are kept.

Law: nothing but time changes. A collector that looks at a growing program again and again takes a third of the time
that tracing a long one needs.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_open = 0
_was_on = False


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Pause the collector of cycles for a block, or for a function that it decorates; threads may overlap."""
    global _open, _was_on
    with _lock:
        if not _open:
            _was_on = gc.isenabled()
            gc.disable()
        _open += 1
    try:
        yield
    finally:
        with _lock:
            _open -= 1
            if not _open and _was_on:
                gc.enable()
