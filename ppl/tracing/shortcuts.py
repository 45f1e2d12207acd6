"""Shortcuts: while a program is traced, its arithmetic on numbers and its `y[3]` do without the dispatch of jax.numpy.

Law: the operations that are recorded, their values and their types are those that JAX records. What a model of many
sites does between two of them takes most of the time of tracing it, and nearly all of that is dispatch.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

type Operator = Callable[[Any, Any], Any]

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_lock = threading.Lock()
_open = 0
_here = threading.local()  # other threads keep the operators of JAX


@contextlib.contextmanager
def shortcuts(recording: Callable[[], bool], entry: Callable[[Any, int], Any]) -> Iterator[None]:
    """Take the shortcuts for the time of a block; threads may overlap.

    Args:
        recording: tells whether the trace that is running now is the one of this block, and not one inside it.
        entry: records the element of an array at a number of its first axis.
    """
    before = getattr(_here, "block", None)
    _count(1)
    _here.block = recording, entry
    try:
        yield
    finally:
        _here.block = before
        _count(-1)


def _count(step: int) -> None:
    global _open
    with _lock:
        _open += step
        for name, operator in (_quick if _open else _whole).items():
            setattr(jax.core.ShapedArray, name, staticmethod(operator))


def _arithmetic(whole: Operator, operation: Operator, turned: bool) -> Operator:
    """An operator on two numbers of one type; of anything else, by JAX."""

    def quick(self: Any, other: Any) -> Any:
        kind = self.aval
        if kind.dtype in _FLOATS and not kind.weak_type and getattr(_here, "block", None) is not None:
            if type(other) is float:
                alike = kind.dtype == jax.dtypes.canonicalize_dtype(float)
            else:
                alike = isinstance(other, jax.core.Tracer) and other.aval == kind
            if alike:
                return operation(other, self) if turned else operation(self, other)
        return whole(self, other)

    return quick


def _indexing(whole: Operator) -> Operator:
    """The element at a number; for any other index, by JAX."""

    def quick(self: Any, index: Any) -> Any:
        block, size = getattr(_here, "block", None), (*self.shape, 0)[0]
        inside = type(index) is int and -size <= index < size and size > 1  # JAX cuts no row out of one
        if inside and block is not None and block[0]():
            return block[1](self, index % size)
        return whole(self, index)

    return quick


_OPERATIONS = {"add": jax.lax.add, "sub": jax.lax.sub, "mul": jax.lax.mul, "truediv": jax.lax.div}
_whole: dict[str, Operator] = {"_getitem": getattr(jax.core.ShapedArray, "_getitem")}
_quick: dict[str, Operator] = {"_getitem": _indexing(_whole["_getitem"])}
for _name, _operation in _OPERATIONS.items():
    for _operator, _turned in (f"_{_name}", False), (f"_r{_name}", True):
        _whole[_operator] = getattr(jax.core.ShapedArray, _operator)
        _quick[_operator] = _arithmetic(_whole[_operator], _operation, _turned)
