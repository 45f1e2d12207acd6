"""The resampling schemes by name.

Law: each is a `Scheme`, so E[offspring_i] = M w_i / sum(w), and its enumeration is the exact law of its draw.
"""

from __future__ import annotations

from lawful.errors import LawfulError

from .picks import multinomial, residual
from .scheme import Scheme
from .strata import stratified, systematic

SCHEMES = {s.name: s for s in (multinomial, residual, stratified, systematic)}


def scheme(given: str | Scheme) -> Scheme:
    """Look a scheme up by its name; a scheme is itself.

    >>> scheme("systematic").name
    'systematic'
    """
    if isinstance(given, Scheme):
        return given
    if given not in SCHEMES:
        raise LawfulError(
            f"no resampling scheme is called {given!r}: choose one of {', '.join(sorted(SCHEMES))}, or give a Scheme.",
            given=given,
        )
    return SCHEMES[given]
