"""Constant data: programs that compute Python numbers from their data, as `int(np.max(codes))`, as NumPyro's may.

Law: such a program is traced for its data themselves, which are constants of its Form; equal data have one Form,
and others are refused where that Form meets them.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import jax
import numpy as np

from ...errors import UnsupportedProgramError
from .. import Form
from ..digest import digest

_allowed: weakref.WeakSet[Callable[..., Any]] = weakref.WeakSet()
_learnt: weakref.WeakSet[Callable[..., Any]] = weakref.WeakSet()


def allow(program: Callable[..., Any]) -> None:
    """Let a program, and those around it, compute Python numbers from their data."""
    _allowed.add(program)


def learn(program: Any, arrays: Sequence[Any], tried: bool) -> bool:
    """Take a program that could not be traced for one that needs its data; False where that cannot be the reason.

    Args:
        program: the program.
        arrays: its data.
        tried: whether it was traced for them: then something else is wrong with it.
    """
    if tried or not _is_allowed(program) or not arrays or _code(arrays) is None:
        _learnt.discard(program)
        return False
    _learnt.add(program)
    return True


def _is_allowed(program: Any) -> bool:
    if isinstance(program, functools.partial):
        return _is_allowed(program.func)
    if not inspect.isfunction(program):
        return False
    return program in _allowed or _is_allowed(getattr(program, "__wrapped__", None))


def needed(program: Any, arrays: Sequence[Any]) -> str | None:
    """Give the digest of the data where a program is known to need them; None for all other programs."""
    known = isinstance(program, FunctionType | functools.partial) and program in _learnt
    return _code(arrays) if known else None


def as_given(leaves: Sequence[Any], arrays: Sequence[Any]) -> list[Any]:
    """Give data as they were given, in the types that inputs of a Form have; arrays of JAX stay what they are."""
    return [
        leaf if isinstance(leaf, jax.Array) else np.asarray(leaf, array.dtype)
        for leaf, array in zip(leaves, arrays, strict=True)
    ]


def _code(arrays: Sequence[Any]) -> str | None:
    """Digest arrays; None where one has no values yet."""
    known = not any(isinstance(array, jax.core.Tracer | jax.ShapeDtypeStruct) for array in arrays)
    return digest(*map(np.asarray, arrays)) if known else None


def hold(form: Form, code: str) -> None:
    """Note the digest of the data that are constants of a Form."""
    form.cache[hold] = code


def holds_data(form: Form) -> bool:
    """Tell whether the data are constants of a Form."""
    return hold in form.cache


def refuse_other_data(form: Form, arrays: Sequence[Any]) -> None:
    """Refuse data that are not those of a Form, where these are its constants.

    Raises: UnsupportedProgramError.
    """
    if hold in form.cache and _code(arrays) != form.cache[hold]:
        raise UnsupportedProgramError(
            "the program computes Python numbers from its data, as int(np.max(codes)), so its Form holds the data that "
            "it was traced with, and was called with others. Fix: give the program and not its Form, or give such "
            "numbers as Python integers among the arguments."
        )
