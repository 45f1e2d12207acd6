"""Double precision for whatever a fit computes, whatever the user's global setting.

Law: -2LL of 23,000 is right to 0.001, which single precision cannot hold; outside a call the setting is the user's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import jax

__all__ = ["doubly"]


def doubly(method: Callable[..., Any]) -> Callable[..., Any]:
    """Run a function in double precision.

    >>> doubly(lambda: jax.numpy.zeros(()).dtype)()
    dtype('float64')
    """

    @wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        with jax.enable_x64(True):
            return method(*args, **kwargs)

    return run
