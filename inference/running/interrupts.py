"""Interrupts: Ctrl-C between two chunks.

Law: the first SIGINT is only noted, the second one raises KeyboardInterrupt at once; what happened on SIGINT before
happens again afterwards, however the block ends. Outside the main thread, which alone gets signals, nothing changes.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Interrupts:
    """A block in which the first SIGINT is noted.

    >>> with Interrupts() as interrupts:
    ...     signal.raise_signal(signal.SIGINT)
    ...     interrupts.asked
    True
    """

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self.asked = False
        self._before: Any = None
        self._installed = False

    def __enter__(self) -> Interrupts:
        """Take over SIGINT, where Python handles it."""
        handled = signal.getsignal(signal.SIGINT) not in (None, signal.SIG_IGN)
        if handled and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
            self._installed = True
        return self

    def __exit__(self, *_: Any) -> None:
        """Give SIGINT back."""
        if self._installed:
            signal.signal(signal.SIGINT, self._before)
            self._installed = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
