"""Sources: the place in the user's code that a statement, an operation or an error comes from, and what else is told.

Law: frames of this package, of JAX, of NumPyro and of the wrappers of its functions are never the user's, nor is what
is installed or belongs to Python.
"""

import functools
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import numpyro

from .addresses import Address

_PACKAGE = str(Path(__file__).parent) + os.sep
_NUMPYRO = str(Path(numpyro.__file__).parent) + os.sep
_JAX = str(Path(jax.__file__).parent) + os.sep
_PYTHON = sysconfig.get_path("stdlib") + os.sep
_INSTALLED = re.compile(r"[\\/](site|dist)-packages[\\/]|^(<frozen .*|frozen|built-in)$")
_WRAPPERS = ("contextlib.py", "jaxtyping", "beartype")  # a file, or the folder of one


@dataclass(frozen=True, slots=True)
class Source:
    """The place in the user's code that made a site: file and line."""

    file: str
    line: int

    def __str__(self) -> str:
        """Show as file:line."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class PlateFrame:
    """A declared batch axis: its name, its size, its position counted from the right (negative), and its labels."""

    name: str
    size: int
    dim: int
    coords: tuple[Any, ...] | None = None


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Statement:
    """What is told of a statement in every record of it; a note that is added here is in all of them.

    Attributes:
        address: its name; operations without a name have none.
        source: where the user wrote it.
        frames: the plates around it.
        loop_names: names of the loops around it, or None.
        event_dims: names of the axes of its value after those of the batch.
        droppable: whether a choice is summed out where nothing reads it.
    """

    address: Address | None = None
    source: Source = Source("<algorithm>", 0)
    frames: tuple[PlateFrame, ...] = ()
    loop_names: tuple[str | None, ...] = ()
    event_dims: tuple[str, ...] = ()
    droppable: bool = False

    def told(self) -> dict[str, Any]:
        """Give all of it by name, for another record of the statement."""
        return {name: getattr(self, name) for name in Statement.__slots__}


def caller() -> Source:
    """Find the innermost frame outside this package, JAX, NumPyro and the wrappers of functions: the user's line."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    return Source("<unknown>", 0) if frame is None else Source(frame.f_code.co_filename, frame.f_lineno)


def user_line(error: BaseException) -> Source:
    """Find the innermost line of the user's code in the traceback of an error."""
    outwards = reversed([*traceback.walk_tb(error.__traceback__)])
    return first_line((frame.f_code.co_filename, line) for frame, line in outwards)


def first_line(places: Iterable[tuple[str, int]]) -> Source:
    """Find the first place outside this package and the libraries that it stands on: the user's line."""
    return next((Source(file, line) for file, line in places if is_users(file)), Source("<unknown>", 0))


@functools.lru_cache(maxsize=4096)
def is_users(file: str) -> bool:
    """Tell whether a file is the user's; what was typed in has none, as `<stdin>`, and is.

    >>> import numpy
    >>> is_users("<stdin>"), is_users(numpy.__file__), is_users(os.__file__), is_users(__file__)
    (True, False, False, False)
    """
    return not (_is_ours(file) or file.startswith(_PYTHON) or _INSTALLED.search(file))


@functools.lru_cache(maxsize=1024)
def _is_ours(file: str) -> bool:
    return file.startswith((_PACKAGE, _NUMPYRO, _JAX, "<@beartype")) or any(
        part in _WRAPPERS for part in file.split(os.sep)[-2:]
    )
