"""Words of a text, read one after the other; each knows the line that it stands on.

Law: what cannot be read gets an error with the line and the word, what was expected there and what was found.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from lawful.errors import MalformedFileError

WORD = re.compile(r"\S+")


def text_of(given: str | os.PathLike[str], is_text: Callable[[str], bool]) -> tuple[str, str]:
    """Give the text and what to call it: that of a file, or of a string that is a text and no path.

    Raises: MalformedFileError for a file that is missing or holds no text.
    """
    if isinstance(given, str) and (not given.strip() or "\n" in given or is_text(given)):
        return given, "text"
    path = Path(given)
    try:
        return path.read_text(encoding="utf-8-sig"), str(path)
    except UnicodeDecodeError as error:
        raise MalformedFileError(f"{path}: expected text, found bytes that are none.", source=str(path)) from error
    except OSError as error:
        raise MalformedFileError(
            f"{path}: the file cannot be read ({error.strerror}). Fix: give the path of a file, or its text.",
            source=str(path),
        ) from error


def write(text: str, path: str | os.PathLike[str] | None) -> str:
    """Write a text where a path is given, and return it."""
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text


class Words:
    r"""The words of a text, and how many of them are read.

    >>> words = Words("2 0.5\n0.25", "text")
    >>> words.integer("the number of entries"), words.numbers(2, "entries").tolist()
    (2, [0.5, 0.25])
    """

    def __init__(self, text: str, source: str) -> None:
        """Split the text at white space of any kind."""
        self.text, self.source, self.words, self.at = text, source, text.split(), 0
        if not text.isascii() or "_" in text:  # Python takes 1_000 and digits of any script for numbers
            for place, word in enumerate(self.words):
                if not word.isascii() or "_" in word:
                    self.fail(place, "words of ASCII letters, or numbers")

    @property
    def left(self) -> int:
        """Number of words that are not read yet."""
        return len(self.words) - self.at

    def fail(self, place: int, expected: str, fix: str = "") -> NoReturn:
        """Raise the error of the word at a place."""
        if place < len(self.words):
            start = next(m.start() for k, m in enumerate(WORD.finditer(self.text)) if k == place)
            found, line = repr(self.words[place][:40]), self.text.count("\n", 0, start) + 1
        else:
            found, line = "the end", self.text.rstrip().count("\n") + 1
        raise MalformedFileError(
            f"{self.source}, line {line}, word {place + 1}: expected {expected}, found {found}."
            + (f" Fix: {fix}" if fix else ""),
            source=self.source,
            line=line,
            word=place + 1,
        )

    def integer(self, expected: str, low: int = 0) -> int:
        """Read a whole number that is not below the bound."""
        try:
            found = int(self.words[self.at])
        except (ValueError, IndexError):
            self.fail(self.at, expected)
        if not low <= found < 2**63:
            self.fail(self.at, expected)
        self.at += 1
        return found

    def integers(self, count: int, expected: str, low: int = 0, below: int | None = None) -> np.ndarray:
        """Read whole numbers in [low, below)."""
        found = self._read(count, int, np.int64, expected)
        outside = found < low if below is None else (found < low) | (found >= below)
        if outside.any():
            self.fail(self.at - count + int(np.argmax(outside)), expected)
        return found

    def numbers(self, count: int, expected: str) -> np.ndarray:
        """Read numbers; NaN and infinities among them are for the caller to refuse."""
        return self._read(count, float, np.float64, expected)

    def _read(self, count: int, kind: Callable[[str], Any], dtype: type, expected: str) -> np.ndarray:
        start = self.at
        if count > self.left:
            self.fail(len(self.words), expected)
        found: np.ndarray
        try:
            found = np.fromiter(map(kind, self.words[start : start + count]), dtype, count)
        except (ValueError, OverflowError):
            wrong = (k for k, word in enumerate(self.words[start : start + count]) if not _is(word, kind))
            self.fail(start + next(wrong), expected)
        self.at = start + count
        return found


def _is(word: str, kind: Callable[[str], Any]) -> bool:
    try:
        return abs(kind(word)) < 2**63 if kind is int else kind(word) is not None
    except ValueError:
        return False
