"""Checkpoint folder: the last two states of a run, each a file of its own.

Law: a crash at any instruction leaves at least one generation whole, since a file has its name only once all of it is
on the disk. `load` gives the newest one that is whole, and says which it had to pass over. A folder is for one run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lawful.errors import CheckpointError

from .checkpoint_file import read, write
from .trees import flatten, restore

__all__ = ["Checkpoint", "CheckpointWarning", "flatten", "generations", "load", "restore", "save"]

KEPT = 2  # generations
NAME = re.compile(r"generation-(\d{8,15})\.npz")
SCRATCH = ".writing.npz"  # one name, so that what a killed run left is written over


class CheckpointWarning(UserWarning):
    """A run goes on in memory, because its checkpoints cannot be written."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A state that was read.

    Attributes:
        header: as it was given to `save`.
        arrays: by name, as they were given.
        path: the file.
        skipped: why newer files were passed over, newest first; empty as a rule.
    """

    header: dict[str, Any]
    arrays: dict[str, np.ndarray]
    path: Path
    skipped: tuple[str, ...] = ()


def save(folder: str | os.PathLike[str], header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Path:
    """Write a new generation, and delete all but the last two.

    Args:
        folder: of the run; made where it is missing.
        header: what JSON can hold, 1 MiB at most.
        arrays: by name; numbers and truth values of any type of NumPy or JAX. `flatten` makes them of a tree.

    Returns: the file.

    Raises: CheckpointError where the disk is full or the folder cannot be written, with the error of the system as its
        cause; generations that were there stay.

    >>> from tempfile import mkdtemp
    >>> folder = mkdtemp()
    >>> save(folder, {"step": 3}, {"x": np.arange(3.0)}).name
    'generation-00000001.npz'
    >>> found = load(folder)
    >>> found.header, found.arrays["x"].tolist()
    ({'step': 3}, [0.0, 1.0, 2.0])
    """
    folder = Path(folder)
    scratch = folder / SCRATCH
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = max(map(_number, generations(folder)), default=0) + 1
        target = folder / f"generation-{number:08d}.npz"
        with open(scratch, "w+b") as file:
            write(file, header, arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, target)
        _sync(folder)
    except OSError as error:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
        raise CheckpointError(
            f"{folder}: a checkpoint could not be written ({error}); those before it are kept. Fix: make room on the "
            "disk, or give a folder that can be written.",
            path=str(folder),
        ) from error
    with suppress(OSError):  # the new one is there, whatever happens to the old
        for old in generations(folder)[KEPT:]:
            old.unlink(missing_ok=True)
    return target


def load(folder: str | os.PathLike[str]) -> Checkpoint:
    """Read the newest generation that is whole, of a folder that `save` wrote into.

    Raises: CheckpointError where there is none; where none is whole CorruptCheckpoint, UnsafeCheckpoint or
        CheckpointMismatch, as for the newest one.
    """
    folder = Path(folder)
    passed: list[CheckpointError] = []
    for path in generations(folder):
        try:
            with open(path, "rb") as file:
                header, arrays = read(file, path)
            return Checkpoint(header, arrays, path, tuple(map(str, passed)))
        except FileNotFoundError:
            continue  # deleted meanwhile, because a newer one was written
        except CheckpointError as error:
            passed.append(error)
        except OSError as error:
            passed.append(CheckpointError(f"{path} cannot be read ({error}).", path=str(path)))
    if not passed:
        raise CheckpointError(f"{folder} has no checkpoint. Fix: give the folder of a run.", path=str(folder))
    newest, *older = passed
    told = " ".join([str(newest), *(f"The one before: {error}" for error in older)])
    raise type(newest)(told, **newest.fields) from newest


def generations(folder: str | os.PathLike[str]) -> list[Path]:
    """List the files of a run, newest first; none where there is no folder.

    >>> generations("/nowhere")
    []
    """
    folder = Path(folder)
    try:
        found = [path for path in folder.iterdir() if NAME.fullmatch(path.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(found, key=_number, reverse=True)


def _number(path: Path) -> int:
    found = NAME.fullmatch(path.name)
    assert found is not None
    return int(found[1])


def _sync(folder: Path) -> None:
    """Bring the name of a new file onto the disk, too."""
    handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
