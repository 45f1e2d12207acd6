"""A journal: how far each long step of a fit had come, on disk, so that a fit that was stopped goes on from there.

Law: a fit that was stopped at any instruction and is made again with the same folder gives the arrays of a fit that was
not stopped, bit by bit. A step is known by all that goes into it, so what is taken up is what would be made again; what
is not in the journal is made again. Long steps are the epochs of a net and the steps to the mode of a process.

Without a journal a step runs at once and keeps nothing.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lawful.errors import CheckpointError, CheckpointMismatch
from lawful.inference.checkpoints.checkpoints import CheckpointWarning, flatten, generations, load, restore, save
from lawful.inference.checkpoints.fingerprints import check, fingerprints
from lawful.inference.checkpoints.form_digests import content, short

from ..bags.bags import Bags

__all__ = ["Journal", "Step", "journal_of", "step_of"]

EVERY = 1.0  # seconds between writes, at least
SHARE = 20  # and as many times as long as a write takes
PORTION = 0.25  # seconds of a portion, at least

_journal: ContextVar[Journal | None] = ContextVar("journal", default=None)


@dataclass
class Journal:
    """What is kept of one fit.

    Attributes:
        folder: of its checkpoints.
        header: what it is a fit of, and the seed.
        steps: arrays of each step, by its name.
        notes: what a reader should know, in words.
    """

    folder: Path | None
    header: dict[str, Any]
    steps: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _written: float = field(default_factory=time.monotonic)
    _pause: float = field(default_factory=lambda: EVERY)
    _broken: bool = False

    @property
    def seed(self) -> int:
        """Seed of all randomness of the fit."""
        return int(self.header["seed"])

    def write(self, *, soon: bool = True) -> None:
        """Write all steps, or only if the last time is long enough ago; a disk that fails is told once."""
        began = time.monotonic()
        if self.folder is None or self._broken or (not soon and began - self._written < self._pause):
            return
        arrays = {f"{name} {path}": array for name, step in self.steps.items() for path, array in step.items()}
        try:
            save(self.folder, self.header, arrays)
        except CheckpointError as error:
            self._broken = True
            told = f"the fit goes on without further checkpoints: {error}"
            self.notes.append(told)
            warnings.warn(told, CheckpointWarning, stacklevel=2)
        self._written = time.monotonic()
        self._pause = max(EVERY, SHARE * (self._written - began))


@dataclass(frozen=True)
class Step:
    """One long step of a fit, and how far it had come."""

    name: str
    journal: Journal | None

    def taken_up(self, start: Any) -> Any:
        """Give the state that was kept, or the start."""
        kept = None if self.journal is None else self.journal.steps.get(self.name)
        return start if kept is None else restore(kept, start)

    def keep(self, state: Any) -> None:
        """Keep a state from which the step can go on."""
        if self.journal is not None:
            self.journal.steps[self.name] = flatten(state)[0]
            self.journal.write(soon=False)

    def portions(self, done: int, all_of_them: int) -> Iterator[int]:
        """Give the numbers up to which to go in turn: all at once without a journal, else about 0.25 s at a time.

        >>> list(Step("", None).portions(0, 10))
        [10]
        """
        length = all_of_them if self.journal is None else 1
        while done < all_of_them:
            began = time.monotonic()
            done = min(done + length, all_of_them)
            yield done
            length *= 2 if time.monotonic() - began < PORTION else 1


def step_of(what: str, inputs: Any) -> Step:
    """Give a step of the fit that is under way.

    Args:
        what: kind of the step.
        inputs: all that it depends on.

    >>> step_of("net", ()).journal is None  # as no fit is
    True
    """
    journal = _journal.get()
    return Step("" if journal is None else f"{what} {short(content(inputs))}", journal)


@contextmanager
def journal_of(
    folder: str | os.PathLike[str] | None, X: np.ndarray, bags: Bags, settings: Mapping[str, Any], seed: int
) -> Iterator[Journal]:
    """Open the journal of a fit.

    Args:
        folder: of the fit, new or that of the same fit; None to keep nothing.
        X: rows (n, d).
        bags: their bags, with counts.
        settings: of the fit, by name. Without `random_state` the seed is the one that was kept.
        seed: of all randomness.

    Raises: CheckpointMismatch for the folder of another fit, with what differs; CorruptCheckpoint or UnsafeCheckpoint
        for one without a file that can be read.
    """
    if folder is None:
        yield Journal(None, {"seed": seed})
        return
    drawn = settings.get("random_state") is None
    told = {**settings, "random_state": None if drawn else seed}
    data = {"X": X, "bags": {"offsets": bags.offsets, "members": bags.members}, "counts": bags.counts,
            "known": bags.known, "count_noise": content(bags.noise)}  # fmt: skip
    journal = Journal(Path(folder), {"fingerprints": fingerprints(None, data, told, "label proportions"), "seed": seed})
    if generations(folder):
        _read(journal, folder)
    token = _journal.set(journal)
    try:
        yield journal
    finally:
        _journal.reset(token)
        journal.write()  # where it was interrupted, too


def _read(journal: Journal, folder: str | os.PathLike[str]) -> None:
    found = load(folder)
    try:
        flags = check(found.header, journal.header["fingerprints"])
    except CheckpointMismatch as error:
        raise CheckpointMismatch(f"{folder}: {error}", **error.fields) from error
    journal.header["seed"] = found.header["seed"]
    for name, array in found.arrays.items():
        kind, code, path = name.split(" ", 2)
        journal.steps.setdefault(f"{kind} {code}", {})[path] = array
    journal.notes += [f"a checkpoint was passed over: {each}" for each in found.skipped]
    if flags:
        told = "; ".join(flags)
        journal.notes.append(f"taken up from a checkpoint of another version or device, so bits may differ: {told}.")
