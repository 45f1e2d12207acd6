"""Placing: where the values of a form lie while it runs, on one device or in parts on many.

Law: where a value lies changes no number of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from lawful.form import Var


@runtime_checkable
class Placing(Protocol):
    """What a form that runs a few steps at a time has to know of its devices.

    A place stands for an array, or for all arrays of a tree.
    """

    def place(self, value: Var | None, rows: bool = False) -> Any:
        """Say where a value of the form lies, or with `rows` a stack of such values; None stands for all devices."""

    def shape(self, value: Var) -> tuple[int, ...]:
        """Give the shape of a value as the host sees it."""

    def put(self, arrays: Any, places: Any) -> Any:
        """Bring arrays to their places; those that are there stay."""

    def mapped(self, function: Callable[..., Any], ins: Any, outs: Any) -> Callable[..., Any]:
        """Make a function of what one device has into one of whole arrays, from the places of operands and results."""


class OneDevice:
    """All values lie on one device."""

    def place(self, value: Var | None, rows: bool = False) -> None:
        """Say nothing."""

    def shape(self, value: Var) -> tuple[int, ...]:
        """Give its shape."""
        return value.full_shape

    def put(self, arrays: Any, places: Any) -> Any:
        """Leave them."""
        return arrays

    def mapped(self, function: Callable[..., Any], ins: Any, outs: Any) -> Callable[..., Any]:
        """Leave it."""
        return function
