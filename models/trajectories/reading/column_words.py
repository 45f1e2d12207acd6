"""Column words: `gate`, `growth` and `time_varying`, or those of nlpsem for the same.

Law: a call in the words of nlpsem is the call in those of Python; both words for one thing are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from lawful.errors import LawfulError

__all__ = ["NLPSEM", "also_in_words_of_nlpsem"]

NLPSEM = {"cluster_TIC": "gate", "growth_TIC": "growth", "TVC": "time_varying"}


def also_in_words_of_nlpsem[T](method: Callable[..., T]) -> Callable[..., T]:
    """Let a function that takes `gate`, `growth` and `time_varying` take the words of nlpsem for them too.

    Raises: LawfulError where a call has both words for one thing.

    >>> @also_in_words_of_nlpsem
    ... def fit(data, gate=(), growth=(), time_varying=()):
    ...     return {"gate": gate, "growth": growth}
    >>> fit("data", cluster_TIC=["age"], growth=["sex"])
    {'gate': ['age'], 'growth': ['sex']}
    """

    @wraps(method)
    def run(*args: Any, **words: Any) -> T:
        for theirs, ours in NLPSEM.items():
            if theirs not in words:
                continue
            if ours in words:
                raise LawfulError(f"{method.__name__}: {ours}= and {theirs}= are one. Fix: give {ours}= alone.")
            words[ours] = words.pop(theirs)
        return method(*args, **words)

    return run
