"""Faults: what a call gives where a run meets one: an error, or a result that is not ok.

Law: the policy changes what is reported, never the measure. It holds for what only the run can show; what the program
and its data show before the run is an error always.
"""

from __future__ import annotations

from typing import Any, Literal

from lawful.errors import LawfulError

type OnFault = Literal["raise", "flag"]


def checked_policy(on_fault: Any) -> None:
    """Refuse an unknown policy.

    >>> checked_policy("ignore")
    Traceback (most recent call last):
    lawful.errors.LawfulError: on_fault: expected 'raise' or 'flag', got 'ignore'.
    """
    if on_fault not in ("raise", "flag"):
        raise LawfulError(f"on_fault: expected 'raise' or 'flag', got {on_fault!r}.", on_fault=on_fault)
