"""Recipes: the settings of an inference as JSON, from which it is built again.

Law: `decode(encode(x))` equals x. Only plain values, the library's schemes of resampling and its registered classes are
written and read, these two by name: what a file names is looked up, never run, and functions of a user are no part.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from lawful.errors import UnsafeCheckpoint

from ..laws.resampling_schemes import SCHEMES, is_named
from ..registered import registered, stored_name


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
    if is_named(value):
        return {"scheme": value.name}
    name = stored_name(type(value))
    if name is not None:
        fields = {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
        return {"made": name, "fields": fields}
    raise NoRecipe(f"{value!r} is of type {type(value).__name__}")


def decode(stored: Any) -> Any:
    """Make a value again.

    Raises: UnsafeCheckpoint where it names anything that is not registered.
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
    kind = registered(stored["made"])
    if kind is None:
        raise UnsafeCheckpoint(f"the settings of the run name {stored['made']!r}, which is none of lawful.inference.")
    return kind(**{str(name): decode(item) for name, item in stored["fields"].items()})
