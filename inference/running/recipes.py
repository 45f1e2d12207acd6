"""Recipes: the settings of an inference as JSON, from which it is built again.

Law: `decode(encode(x))` equals x. Only plain values, the library's schemes of resampling by name, and its own frozen
dataclasses are written and read: what a file names is looked up, never run, and functions of a user are no part of it.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np

from lawful.errors import UnsafeCheckpoint

from ..numerics.resampling import SCHEMES
from ..numerics.scheme import Scheme

HOME = "lawful.inference."


class NoRecipe(Exception):
    """The value cannot be written."""


def encode(value: Any) -> Any:
    """Write a value as JSON.

    >>> from lawful.inference import kernels
    >>> decode(encode(kernels.random_walk(0.5))) == kernels.random_walk(0.5)
    True
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.integer | np.floating | np.bool_):
        return value.item()
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [encode(item) for item in value]}
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {"dict": {name: encode(item) for name, item in value.items()}}
    if isinstance(value, Scheme) and SCHEMES.get(value.name) is value:
        return {"scheme": value.name}
    kind = type(value)
    home = f"{kind.__module__}:{kind.__qualname__}"
    if dataclasses.is_dataclass(value) and kind.__module__.startswith(HOME) and _known(home) is kind:
        fields = {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
        return {"made": home, "fields": fields}
    raise NoRecipe(f"{value!r} is of type {kind.__name__}")


def decode(stored: Any) -> Any:
    """Make a value again.

    Raises: UnsafeCheckpoint where it names anything else than a frozen dataclass of the library.
    """
    if isinstance(stored, list):
        return [decode(item) for item in stored]
    if not isinstance(stored, dict):
        return stored
    if set(stored) == {"tuple"}:
        return tuple(decode(item) for item in stored["tuple"])
    if set(stored) == {"dict"}:
        return {str(name): decode(item) for name, item in stored["dict"].items()}
    if set(stored) == {"scheme"} and isinstance(stored["scheme"], str) and stored["scheme"] in SCHEMES:
        return SCHEMES[stored["scheme"]]
    if set(stored) != {"made", "fields"} or not isinstance(stored["made"], str):
        raise UnsafeCheckpoint(f"the settings of the run hold something unknown: {str(stored)[:80]}.")
    kind = _known(stored["made"])
    if kind is None:
        raise UnsafeCheckpoint(
            f"the settings of the run name {stored['made']!r}, which is no part of lawful.inference."
        )
    return kind(**{str(name): decode(item) for name, item in stored["fields"].items()})


def _known(home: str) -> Any:
    """Find a frozen dataclass of the library by its name."""
    module, _, name = home.partition(":")
    if not module.startswith(HOME) or not name.isidentifier() or not all(p.isidentifier() for p in module.split(".")):
        return None
    kind = getattr(sys.modules.get(module), name, None)  # a file makes nothing be imported
    parameters = getattr(kind, "__dataclass_params__", None)
    return kind if parameters is not None and parameters.frozen and kind.__module__ == module else None
