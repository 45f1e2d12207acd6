"""Missing call: a function of this package that stands where what it makes is expected, as `kernels.nuts`.

Law: only public functions and classes of `lawful.inference` are meant; a program of a user's is never one.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

from lawful.errors import LawfulError

from .registered import PACKAGES


def refuse_uncalled(given: Any, what: str) -> None:
    """Refuse a function or class of the package in place of what a call of it gives.

    Args:
        given: what was given.
        what: the argument, for the error.

    >>> from lawful.inference import kernels
    >>> refuse_uncalled(kernels.nuts, "kernel")
    Traceback (most recent call last):
    lawful.errors.LawfulError: kernel: nuts is a function of lawful.inference... Fix: call it: nuts().
    """
    if not (inspect.isfunction(given) or inspect.isclass(given)):
        return
    name = given.__name__
    if any(getattr(sys.modules.get(package), name, None) is given for package in PACKAGES):
        needs = [
            p.name
            for p in inspect.signature(given).parameters.values()
            if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
        raise LawfulError(
            f"{what}: {name} is a function of lawful.inference that makes what is expected here, and was not called. "
            f"Fix: call it: {name}({', '.join(f'{one}=...' for one in needs)}).",
            given=name,
        )
