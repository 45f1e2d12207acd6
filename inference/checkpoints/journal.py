"""Journal: how far each long step of a work had come, on disk, so that a work that was stopped goes on from there.

Law: a work that was stopped at any instruction and is made again with the same folder gives the arrays of a work that
was not stopped, bit by bit, if each step is a function of its inputs and of the state that it keeps. A step is known by
all that goes into it, so what is taken up is what would be made again; what is not in the journal is made again.

Outside of a journal a step runs at once and keeps nothing.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from lawful.errors import CheckpointError, CheckpointMismatch

from .checkpoint_folder import CheckpointWarning, flatten, generations, load, restore, save
from .fingerprints import check, fingerprints
from .form_digests import content, short

__all__ = ["Journal", "LongStep"]

EVERY = 1.0  # seconds between writes, at least
SHARE = 20  # and as many times as long as a write takes
PORTION = 0.25  # seconds of a portion, at least

_open: ContextVar[Journal | None] = ContextVar("journal", default=None)


class Journal:
    """Keeps the long steps of one work in a folder, while it is open: a `with` statement around the work.

    It is written about once a second and when it is closed, also by an error or Ctrl-C. A folder that cannot be written
    ends the keeping, with one warning, and not the work.

    Args:
        folder: of the work, new or that of the same work; None to keep nothing.
        what: kind of the work.
        data: arrays, trees of arrays or other objects that the work is of, by name.
        settings: of the work, by name.
        seed: that was drawn for the work; one that was asked for is a setting, too.

    Attributes:
        seed: of all randomness of the work: the one that was given, or that of the work that goes on.
        notes: what a reader should know, in words.

    Raises: CheckpointMismatch for the folder of another work, with what differs; CorruptCheckpoint or UnsafeCheckpoint
        for one without a file that can be read.

    >>> from tempfile import mkdtemp
    >>> def cosines(start, steps):  # a long computation, whose state is one array
    ...     step = LongStep.of("cosines", (start, steps))
    ...     at, x = step.taken_up((0, start))
    ...     for until in step.portions(int(at), steps):
    ...         for _ in range(int(at), until):
    ...             x = np.cos(x)
    ...         at = until
    ...         step.keep((at, x))
    ...     return x
    >>> with Journal(mkdtemp(), "cosines", {"start": np.ones(2)}, {"steps": 40}) as journal:
    ...     found = cosines(np.ones(2), 40)
    >>> bool((found == cosines(np.ones(2), 40)).all()), len(journal.steps)
    (True, 1)
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None,
        what: str,
        data: Mapping[str, Any],
        settings: Mapping[str, Any],
        *,
        seed: int = 0,
    ) -> None:
        self.folder = None if folder is None else Path(folder)
        self.steps: dict[str, dict[str, np.ndarray]] = {}  # arrays of each step, by the digest of its inputs
        self.notes: list[str] = []
        self._header: dict[str, Any] = {"seed": seed}
        self._written, self._pause, self._broken = time.monotonic(), EVERY, False
        self._outer: Token[Journal | None] | None = None
        if self.folder is not None:
            self._header["fingerprints"] = fingerprints(None, data, settings, what)
            if generations(self.folder):
                self._read(self.folder)

    @property
    def seed(self) -> int:
        """Seed of all randomness of the work."""
        return int(self._header["seed"])

    def __enter__(self) -> Self:
        """Let the steps of the work be kept here."""
        self._outer = None if self.folder is None else _open.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        """Write what the last steps have kept, where the work was interrupted, too."""
        if self._outer is not None:
            _open.reset(self._outer)
        self.write()

    def write(self, *, soon: bool = True) -> None:
        """Write all steps, or only if the last time is long enough ago; a disk that fails is told once."""
        began = time.monotonic()
        if self.folder is None or self._broken or (not soon and began - self._written < self._pause):
            return
        arrays = {f"{code} {path}": array for code, step in self.steps.items() for path, array in step.items()}
        try:
            save(self.folder, self._header, arrays)
        except CheckpointError as error:
            self._broken = True
            told = f"{self._header['fingerprints']['algorithm']}: it goes on without further checkpoints: {error}"
            self.notes.append(told)
            warnings.warn(told, CheckpointWarning, stacklevel=2)
        self._written = time.monotonic()
        self._pause = max(EVERY, SHARE * (self._written - began))

    def _read(self, folder: Path) -> None:
        found = load(folder)
        try:
            flags = check(found.header, self._header["fingerprints"])
        except CheckpointMismatch as error:
            raise CheckpointMismatch(f"{folder}: {error}", **error.fields) from error
        self._header["seed"] = found.header["seed"]
        for name, array in found.arrays.items():
            code, path = name.split(" ", 1)
            self.steps.setdefault(code, {})[path] = array
        self.notes += [f"a checkpoint was passed over: {each}" for each in found.skipped]
        if flags:
            told = "; ".join(flags)
            self.notes.append(f"taken up from a checkpoint of another version or device, so bits may differ: {told}.")


@dataclass(frozen=True)
class LongStep:
    """One long step of a work, and how far it had come; see `Journal` for an example.

    Attributes:
        code: of the step, a digest of its inputs.
        journal: that keeps it, or None.
    """

    code: str
    journal: Journal | None

    @classmethod
    def of(cls, what: str, inputs: Any) -> LongStep:
        """Give a step of the work that is under way.

        Args:
            what: kind of the step.
            inputs: all that it depends on: arrays, functions, settings, or trees of these.

        >>> LongStep.of("descent", ()).journal is None  # as no journal is open
        True
        """
        journal = _open.get()
        return cls("" if journal is None else short(what, content(inputs)), journal)

    def taken_up(self, start: Any) -> Any:
        """Give the state that was kept, or the start, a tree of arrays of the same shape."""
        kept = None if self.journal is None else self.journal.steps.get(self.code)
        return start if kept is None else restore(kept, start)

    def keep(self, state: Any) -> None:
        """Keep a state from which the step can go on: a tree of arrays, that of the start."""
        if self.journal is not None:
            self.journal.steps[self.code] = flatten(state)[0]
            self.journal.write(soon=False)

    def portions(self, done: int, all_of_them: int) -> Iterator[int]:
        """Give the numbers up to which to go in turn: all at once without a journal, else about 0.25 s at a time.

        >>> list(LongStep("", None).portions(0, 10))
        [10]
        """
        length = all_of_them if self.journal is None else 1
        while done < all_of_them:
            began = time.monotonic()
            done = min(done + length, all_of_them)
            yield done
            length *= 2 if time.monotonic() - began < PORTION else 1
