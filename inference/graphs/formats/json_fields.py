"""Fields of a JSON object: its parts, each with the place where it stands, as `network.json.cpds[3].table`.

Law: a part that is not what it should be gets an error with its place, what was expected there and what was found.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lawful.errors import MalformedFileError

from .linear import is_zero


def number_of(word: str) -> float:
    """Read a number that float64 holds, as JSON's reader asks for it.

    Raises: ValueError for one that would become zero or infinite.
    """
    found = float(word)
    if math.isinf(found) or (found == 0 and not is_zero(word)):
        raise ValueError(f"{word} is beyond the numbers of float64; as an entry of a 'log_table' it would fit")
    return found


class Field:
    """A part of an object, and where it stands.

    >>> Field({"n": 3}, "file")["n"].whole(0)
    3
    """

    def __init__(self, value: Any, where: str) -> None:
        self.value, self.where = value, where

    def __getitem__(self, key: str) -> Field:
        """Give a part that has to be there."""
        if not isinstance(self.value, Mapping) or key not in self.value:
            raise self.wrong(f"an object with {key!r}")
        return Field(self.value[key], f"{self.where}.{key}")

    def __contains__(self, key: str) -> bool:
        return isinstance(self.value, Mapping) and key in self.value

    def parts(self) -> list[Field]:
        """Give the parts of a list."""
        if not isinstance(self.value, Sequence) or isinstance(self.value, str):
            raise self.wrong("a list")
        return [Field(value, f"{self.where}[{k}]") for k, value in enumerate(self.value)]

    def text(self) -> str:
        """Give a text."""
        if not isinstance(self.value, str):
            raise self.wrong("a text")
        return self.value

    def whole(self, low: int) -> int:
        """Give a whole number that is not below the bound."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or self.value < low:
            raise self.wrong(f"a whole number, {low} or more")
        return self.value

    def index(self, known: Mapping[Any, int], what: str) -> int:
        """Give the number of what is named."""
        if not isinstance(self.value, str | int) or self.value not in known:
            raise self.wrong(what)
        return known[self.value]

    def array(self, shape: tuple[int, ...], logs: bool) -> np.ndarray:
        """Read numbers: linear and not negative, or logs below +inf, where null is -inf."""
        try:
            found = np.array(_filled(self.value) if logs else self.value, np.float64)
        except (TypeError, ValueError):
            found = np.zeros(0)
        if found.shape != shape and not (found.size == 0 and 0 in shape):
            size = f", found {found.shape}" if found.size else ""
            raise MalformedFileError(f"{self.where}: expected numbers of shape {shape}{size}.", where=self.where)
        wrong = ~(found < np.inf) if logs else ~((found >= 0) & (found < np.inf))
        if wrong.any():
            at = tuple(int(k) for k in np.argwhere(wrong)[0])
            expected = "logs, which are finite or null for -inf" if logs else "numbers that are zero or positive"
            raise MalformedFileError(
                f"{self.where}: expected {expected}; element {at} is {float(found[at])}.", where=self.where
            )
        return found.reshape(shape)

    def wrong(self, expected: str) -> MalformedFileError:
        """Make the error of this part."""
        return MalformedFileError(
            f"{self.where}: expected {expected}, found {json.dumps(self.value, default=str)[:60]}.", where=self.where
        )


def _filled(value: Any) -> Any:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_filled(part) for part in value]
    return -math.inf if value is None else value
