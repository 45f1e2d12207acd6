"""Simplify: algebra on a Form before it is compiled: equal operations once, and none after its inverse.

Law: each rule is an identity, so the simplified form has the same measure; the rules change rounding only.
"""

from __future__ import annotations

from .common import common
from .form import Form
from .inverses import without_inverses
from .log_scales import by_log_scales
from .uncollected import uncollected


@uncollected()
def simplified(form: Form) -> Form:
    """Apply the rules everywhere in a form; it is returned itself where none applies."""
    return by_log_scales(common(without_inverses(form)))
