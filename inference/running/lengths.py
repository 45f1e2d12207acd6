"""Lengths: how many steps the next chunk takes.

Law: a chunk of automatic length takes 0.25 s to 0.5 s, as far as the power of two nearest to that and the room of one
call allow; which length it is changes no draw.
"""

from __future__ import annotations

from typing import Literal

FIRST = 16
SHORT, LONG = 0.25, 0.5  # seconds


class Lengths:
    """The lengths of the chunks of one phase.

    >>> lengths = Lengths("auto", longest=64)
    >>> [lengths.next(), *(lengths.took(seconds) for seconds in (0.01, 0.3, 0.2, 0.01, 1.1))]
    [16, 32, 32, 64, 64, 32]
    """

    def __init__(self, chunk: int | Literal["auto"], longest: int, first: int = FIRST) -> None:
        """Begin with the length `first`."""
        self.fixed = chunk != "auto"
        self.longest = longest
        self.length = int(chunk) if chunk != "auto" else min(first, longest)

    def next(self) -> int:
        """Return the length of the next chunk."""
        return self.length

    def took(self, seconds: float) -> int:
        """Learn from the seconds that a chunk of that length took; gives the length of the next one."""
        if not self.fixed and seconds < SHORT:
            self.length = min(2 * self.length, self.longest)
        elif not self.fixed and seconds > LONG:
            self.length = max(self.length // 2, 1)
        return self.length
