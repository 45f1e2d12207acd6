"""Rearranging: operations that move elements, and where the elements of their results come from.

Law: applied to the numbers of the elements, such an operation gives for each element of the result the number of the
one that it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

REARRANGING = frozenset("reshape broadcast_in_dim squeeze expand_dims transpose slice rev dynamic_slice".split())


def _broadcast_numbers(ids: np.ndarray, params: Mapping[str, Any]) -> np.ndarray:
    shape, places = params["shape"], params["broadcast_dimensions"]
    sizes = [ids.shape[places.index(axis)] if axis in places else 1 for axis in range(len(shape))]
    return np.broadcast_to(ids.reshape(sizes), shape)


# The common ways to rearrange, on numbers of elements: NumPy has nothing to compile.
NUMBERS: Mapping[str, Callable[[np.ndarray, Mapping[str, Any]], np.ndarray]] = {
    "reshape": lambda ids, params: ids.reshape(params["new_sizes"]),
    "squeeze": lambda ids, params: np.squeeze(ids, params["dimensions"]),
    "transpose": lambda ids, params: np.transpose(ids, params["permutation"]),
    "broadcast_in_dim": _broadcast_numbers,
}


def _parts(ids: np.ndarray, params: Mapping[str, Any]) -> list[np.ndarray]:
    return np.split(ids, np.cumsum(params["sizes"])[:-1], params["axis"])


# Those with several results.
PARTING: Mapping[str, Callable[[np.ndarray, Mapping[str, Any]], Sequence[np.ndarray]]] = {
    "split": _parts,
    "unstack": lambda ids, params: list(np.moveaxis(ids, params["axis"], 0)),
}
