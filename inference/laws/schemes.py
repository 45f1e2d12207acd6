"""The resampling schemes by name.

Law: each is a `Scheme`, so E[offspring_i] = M w_i / sum(w), and its enumeration is the exact law of its draw.
"""

from __future__ import annotations

from typing import Any

from lawful.errors import LawfulError

from ..uncalled import refuse_uncalled
from .multinomial import multinomial, residual
from .scheme import Scheme
from .strata import stratified, systematic

SCHEMES = {s.name: s for s in (multinomial, residual, stratified, systematic)}


def is_named(given: Any) -> bool:
    """Tell whether something is one of the schemes above, which its name stands for.

    >>> is_named(scheme("systematic")), is_named("systematic")
    (True, False)
    """
    return isinstance(given, Scheme) and SCHEMES.get(given.name) is given


def scheme(given: Any) -> Any:
    """Look a scheme up by its name; a scheme, or what draws as one, is itself.

    Raises: LawfulError for any other name or object, as a function that makes a scheme and was not called.

    >>> scheme("systematic").name
    'systematic'
    """
    refuse_uncalled(given, "resampling")
    if hasattr(given, "draw"):
        return given
    if not isinstance(given, str) or given not in SCHEMES:
        raise LawfulError(
            f"no resampling scheme is called {given!r}: choose one of {', '.join(sorted(SCHEMES))}, or give a Scheme.",
            given=given,
        )
    return SCHEMES[given]
