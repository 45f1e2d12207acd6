"""Variable order: in what order variables are shown, and how their elements are called.

Law: an order changes nothing but the place: parameters before their many effects, choices before named values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lawful.form import Form
from lawful.form.choices import choices_of

from .record import Record

SMALL = 12  # elements of a variable that may stand before larger ones


def leading_first(result: Record) -> dict[str, Any]:
    """Order the variables: small ones first, then by size; of small ones, choices before named values."""
    named = set()
    if isinstance(result.form, Form):
        named = {choice.name for choice in choices_of(result.form, ("deterministic",))}

    def place(name: str) -> tuple[int, int, bool]:
        size = math.prod(np.shape(result._posterior[name])[2:])
        return size > SMALL, 0 if size <= SMALL else size, name in named

    return {name: result._posterior[name] for name in sorted(result._posterior, key=place)}


def leading_elements(result: Record, count: int) -> list[tuple[str, np.ndarray]]:
    """Take elements of the leading variables as (label, draws (chain, draw)): whole variables, or the first of one.

    >>> from lawful.inference.results.collect import from_chains
    >>> result = from_chains({"x": np.zeros((2, 5, 30)), "sd": np.zeros((2, 5))})
    >>> [label for label, _ in leading_elements(result, 3)]
    ['sd']
    """
    shown: list[tuple[str, np.ndarray]] = []
    for name, array in leading_first(result).items():
        draws = np.asarray(array, dtype=float)
        shape, size = draws.shape[2:], math.prod(draws.shape[2:])
        if size > count - len(shown) and shown:
            break
        flat = draws.reshape(*draws.shape[:2], size)
        labels = _coordinates(result.dims.get(name, ()), result.coords, shape)
        for place in range(min(size, count)):
            index = np.unravel_index(place, shape)
            inside = ", ".join(str(axis[i]) for axis, i in zip(labels, index, strict=True))
            shown.append((f"{name}[{inside}]" if shape else name, flat[..., place]))
    return shown


def _coordinates(dims: Any, coords: Mapping[str, Any], shape: tuple[int, ...]) -> list[Any]:
    """Give the values of each axis, numbers where it has no others."""
    known = [np.asarray(coords[dim]) if dim in coords else np.arange(0) for dim in dims]
    known += [np.arange(0)] * (len(shape) - len(known))
    return [
        axis if len(axis) == length else np.arange(length)
        for axis, length in zip(known[: len(shape)], shape, strict=True)
    ]
