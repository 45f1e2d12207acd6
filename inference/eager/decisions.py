"""Decisions: branches of eager code whose predicates depend on choices, told to an enumeration.

Law: outside an enumeration nothing is recorded and nothing changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

_coverage: ContextVar[dict[str, set[bool]] | None] = ContextVar("lawful_check_coverage", default=None)


def decision(name: str, predicate: Any) -> Any:
    """Declare a branch whose predicate depends on choices, and return the predicate.

    The staged form finds such branches by itself; Python's `if` is invisible, so eager code says it. An enumeration
    then records which outcomes had positive probability, and a check that has not seen both is inconclusive. Elsewhere
    this is the identity. Each element of an array of predicates counts as an outcome.

    >>> import numpyro.distributions as dist, lawful.inference
    >>> def program():
    ...     if decision("retry", lawful.sample("coin", dist.Bernoulli(0.5)) == 1):
    ...         lawful.sample("again", dist.Bernoulli(0.5))
    >>> sorted(lawful.inference.check.enumerate_measure(program).coverage["retry"])
    [False, True]
    """
    coverage = _coverage.get()
    if coverage is not None:
        note(coverage, name, predicate)
    return predicate


@contextlib.contextmanager
def recording(coverage: dict[str, set[bool]]) -> Iterator[None]:
    """Record the outcomes of decisions, by name."""
    token = _coverage.set(coverage)
    try:
        yield
    finally:
        _coverage.reset(token)


def note(coverage: dict[str, set[bool]], name: str, predicate: Any) -> None:
    """Record outcomes: one, or one for each element of an array."""
    coverage.setdefault(name, set()).update(bool(outcome) for outcome in np.ravel(np.asarray(predicate)))
