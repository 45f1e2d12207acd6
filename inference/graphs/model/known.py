"""Known numbers: arrays whose elements are known are NumPy's while a program is read; all others are JAX's.

Law: either gives the same numbers, to rounding. A program is read operation by operation, each on shapes of its own:
NumPy has nothing to compile, which millions of numbers would not pay for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.form.operations.on_numpy import evaluate

FEW = 1 << 24  # numbers of one array; more are left to what is compiled


def known(value: Any) -> Any:
    """See a number or an array as one of NumPy where its elements are known and few, else as one of JAX.

    >>> type(known(jnp.ones(3))).__name__, known(0.5).dtype == jnp.result_type(float)
    ('ndarray', True)
    """
    if isinstance(value, jax.core.Tracer) or np.size(value) > FEW:
        return jnp.asarray(value)
    return np.asarray(value, jnp.result_type(value))


def of(*arrays: Any) -> Any:
    """Give the module whose functions suit some arrays: NumPy, or `jax.numpy`."""
    return np if all(map(_is_plain, arrays)) else jnp


def taken(array: Any, index: Any) -> Any:
    """Index an array, by numbers that may be traced."""
    traced = any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(index))
    return (jnp.asarray(array) if traced else array)[index]


def applied(function: Callable[..., Sequence[Any]], operands: Sequence[Any]) -> tuple[Any, ...]:
    """Apply a function of arrays that gives a tuple; nothing is compiled where all its operands are known."""
    if all(map(_is_plain, operands)):
        return tuple(map(known, evaluate(function, operands)))
    return tuple(function(*map(jnp.asarray, operands)))


def _is_plain(array: Any) -> bool:
    return isinstance(array, np.ndarray | np.generic) and array.size <= FEW
