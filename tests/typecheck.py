"""Run-time type checks of the library's functions while tests run.

Functions that are made inside functions are left to mypy: a check of them is compiled anew whenever they are made.
"""

from typing import Any

from beartype import beartype


def checked(function: Any) -> Any:
    """Check the arguments and the result of a function of a module or class."""
    return function if "<locals>" in getattr(function, "__qualname__", "") else beartype(function)
