"""Saving: the state of a run and its rows, kept in a folder while it goes on.

Law: what is kept is enough to go on with equal bits, and keeping it costs about 5 % of the time at most. Where it
cannot be written the run goes on in memory, and says so once.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from lawful.errors import CheckpointError

from ..checkpoints import checkpoint_folder
from ..findings.findings import Finding
from .course import Course, Kept, Stream

SHARE = 20  # time between two checkpoints, in times of writing one


@runtime_checkable
class Saved(Protocol):
    """A run on its way, as it is saved."""

    course: Course
    state: Any
    stream: Stream | None
    done: list[int]
    kept: Kept
    seconds: float


class Saver:
    """Writes checkpoints of one run: `header` says what it is of and how it is made, `begun` its key and start."""

    def __init__(self, folder: str | os.PathLike[str], header: Mapping[str, Any], begun: Any) -> None:
        self.folder, self.header, self.begun = folder, dict(header), begun
        self.cost = 0.0
        self.last = -float("inf")
        self.lost = False

    def save(self, drive: Saved, final: bool) -> tuple[Finding, ...]:
        """Write a checkpoint where it is time to; gives a remark where that fails for the first time."""
        start = time.monotonic()
        if not final and start - self.last < SHARE * self.cost:
            return ()
        kept = {"state": drive.state, "begun": self.begun}
        if drive.stream is not None:
            if not drive.stream.flush():  # the last checkpoint is the last one of which the store has all rows
                return ()
            kept["tally"] = drive.stream.tally
        arrays, tree = checkpoint_folder.flatten(kept)
        for number, done in enumerate(drive.done):
            for place, array in enumerate(drive.kept.rows(number, done) if number in drive.kept.arrays else ()):
                arrays[row_name(number, place)] = array
        told = {
            "place": drive.course.place(drive.state),
            "done": list(drive.done),
            "seconds": drive.seconds,
            "tree": tree,
            "stored": drive.stream is not None,
        }
        found: tuple[Finding, ...] = ()
        try:
            checkpoint_folder.save(self.folder, {**self.header, **told}, arrays)
        except CheckpointError as error:
            found = () if self.lost else (self._lost(error),)
        self.last = time.monotonic()
        self.cost = self.last - start
        return found

    def _lost(self, error: CheckpointError) -> Finding:
        self.lost = True
        message = f"{error} The run goes on in memory."
        warnings.warn(message, stacklevel=2)
        return Finding("NOT_SAVED", message)


def row_name(phase: int, place: int) -> str:
    """Name the array that holds rows of a phase.

    >>> row_name(1, 0)
    'rows 1 0'
    """
    return f"rows {phase} {place}"
