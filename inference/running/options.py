"""Options of a run, what happens between two portions of its steps; and how long the portions are.

Law: no option changes a draw; they say how the run is divided, watched and kept. A chunk of automatic length takes
0.25 s to 0.5 s, as far as the power of two nearest to that and the room of one call allow.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lawful.errors import LawfulError

FIRST = 16
SHORT, LONG = 0.25, 0.5  # seconds


@dataclass(frozen=True)
class RunOptions:
    """How a run is divided, watched and kept: `inference.mcmc(model, run=RunOptions(checkpoint="run/"))`.

    A run with options goes in chunks of steps, and between two chunks the host looks up: the first Ctrl-C ends it with
    all finished chunks as a valid result, the second one at once.

    Attributes:
        chunk: steps a chunk, or "auto": 16 at first, then twice as many until a chunk takes 0.25 s to 0.5 s. Of a
            population in mode "eager", and of one whose program has no loop, as importance sampling, a chunk is a run.
        checkpoint: a folder, where the state and the draws so far are kept; `inference.resume` goes on from there. It
            is written as often as costs no more than about 5 % of the time.
        store: a folder that does not exist yet, as "draws.zarr": the draws of chains are written there while the run
            goes on, and memory holds no more than a chunk of them. `lawful.open_run` reads what is there at any time,
            and the arrays of the result are read from there when they are used. The folder may lie in that of the
            checkpoints.
        callbacks: a function or several; each is called with a `Progress` after every chunk, and where one returns True
            the run stops early.

    Raises: LawfulError for a chunk below 1, and for callbacks that cannot be called.

    >>> RunOptions(chunk=100).chunk
    100
    >>> RunOptions(chunk=0)
    Traceback (most recent call last):
    lawful.errors.LawfulError: chunk: expected 'auto' or an integer of 1 or more, got 0.
    """

    chunk: Any = "auto"
    checkpoint: str | os.PathLike[str] | None = None
    callbacks: Any = ()
    store: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        chunk = self.chunk
        if chunk != "auto" and (not isinstance(chunk, int | np.integer) or isinstance(chunk, bool) or chunk < 1):
            raise LawfulError(f"chunk: expected 'auto' or an integer of 1 or more, got {chunk!r}.")
        if callable(self.callbacks):
            object.__setattr__(self, "callbacks", (self.callbacks,))
        object.__setattr__(self, "callbacks", tuple(self.callbacks))
        for callback in self.callbacks:
            if not callable(callback):
                raise LawfulError(f"callbacks: expected functions of a Progress, got {callback!r}.")
        for name, path in (("checkpoint", self.checkpoint), ("store", self.store)):
            if path is not None and Path(path).exists() and not Path(path).is_dir():
                raise LawfulError(f"{name}: expected a folder, and {path} is a file.", path=str(path))
        if self.store is not None and self.checkpoint is not None and Path(self.store) == Path(self.checkpoint):
            raise LawfulError(
                f"store: expected a folder of its own, got that of the checkpoints, {self.store}. Fix: a folder in it, "
                "as RunOptions(checkpoint='run/', store='run/draws.zarr').",
                path=str(self.store),
            )

    @property
    def longest(self) -> int | None:
        """The most steps of one call of a compiled program, where the chunks are of a given length.

        It is a power of two, and so one program serves chunks of many lengths.
        """
        return None if self.chunk == "auto" else max(FIRST, 1 << (int(self.chunk) - 1).bit_length())


class Lengths:
    """The lengths of the chunks of one phase.

    >>> lengths = Lengths("auto", longest=64)
    >>> [lengths.next(), *(lengths.took(seconds) for seconds in (0.01, 0.3, 0.2, 0.01, 1.1))]
    [16, 32, 32, 64, 64, 32]
    """

    def __init__(self, chunk: int | Literal["auto"], longest: int, first: int = FIRST) -> None:
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
