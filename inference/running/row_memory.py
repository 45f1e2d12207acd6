"""Row memory: memory on the host for the rows of a run.

Law: an array of room is one of NumPy; how the system provides its memory changes nothing but time.

Memory comes in pages, and two thirds of the host's time for a fast chain go by in getting them one by one, when its
rows are written. Large pages take a third of that. Where the memory of a machine is in small pieces the system has to
join some first, which was seen to take longer than the steps of the chains: then the rest gets small pages.
"""

from __future__ import annotations

import math
import mmap
import time
from contextlib import suppress
from typing import Any

import numpy as np

LARGE = 1 << 22  # bytes from which on an array has pages of its own
AT_ONCE = 1 << 28  # bytes up to which it gets all of them at once
PIECE = 1 << 22  # bytes between two looks at the clock
SLOW = 1.5e-9  # seconds for a byte: small pages take a quarter of that, large ones a tenth
POPULATE_WRITE = 23  # of Linux, which mmap does not name; refused before 5.14


def room(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Make an array to be filled.

    >>> room((2, 3), np.float32).shape
    (2, 3)
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < LARGE or not hasattr(mmap, "MADV_NOHUGEPAGE"):
        return np.empty(shape, dtype)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if size <= AT_ONCE:
        with suppress(OSError):
            _get_pages(memory, size)
    return np.frombuffer(memory, dtype).reshape(shape)


def _get_pages(memory: mmap.mmap, size: int) -> None:
    """Get the pages of some memory, large ones as long as they come quickly."""
    memory.madvise(mmap.MADV_HUGEPAGE)
    large = True
    for start in range(0, size, PIECE):
        before, count = time.perf_counter(), min(PIECE, size - start)
        memory.madvise(POPULATE_WRITE, start, count)
        if large and time.perf_counter() - before > SLOW * count:
            memory.madvise(mmap.MADV_NOHUGEPAGE)
            large = False
