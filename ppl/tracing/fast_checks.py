"""Fast checks: while a program is traced, NumPyro checks parameters of distributions only where they are known.

Law: every parameter that NumPyro would refuse is refused. It throws away the outcome of a check on a traced value, so
such checks need not be traced; they are half of the time that tracing a site takes. A number that passed once is not
checked again.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import jax
import numpyro.distributions as dist

_whole = dist.Distribution.validate_args
_lock = threading.Lock()
_open = 0
_passed: set[tuple[type, str, type, float]] = set()  # numbers that a family took for a parameter, by its name
_REMEMBERED = 4096


def _known_arguments(self: Any, strict: bool = True) -> None:
    """Check the arguments; those that are traced only where the caller insists, which is an error."""
    if strict:
        _whole(self, strict)
        return
    family = type(self)
    fixed = isinstance(family.arg_constraints, dict) and "arg_constraints" not in vars(self)
    known, numbers = {}, []
    for name, value in self.get_args().items():
        if isinstance(value, jax.core.Tracer):
            continue
        if fixed and type(value) in (float, int):
            number = family, name, type(value), value
            if number in _passed:
                continue
            numbers.append(number)
        known[name] = value
    if known:
        _whole(_part(self, known), strict)
        if len(_passed) > _REMEMBERED:
            _passed.clear()
        _passed.update(numbers)


def _part(distribution: Any, known: dict[str, Any]) -> Any:
    """Stand in for a distribution with some of its arguments; its class has the name that messages show."""
    parts = {"arg_constraints": distribution.arg_constraints, "get_args": lambda self: known}
    return type(type(distribution).__name__, (), parts)()


@contextlib.contextmanager
def quick_checks() -> Iterator[None]:
    """Check known parameters only, for the time of a block; threads may overlap."""
    global _open
    with _lock:
        _open += 1
        setattr(dist.Distribution, "validate_args", _known_arguments)
    try:
        yield
    finally:
        with _lock:
            _open -= 1
            if not _open:
                setattr(dist.Distribution, "validate_args", _whole)
