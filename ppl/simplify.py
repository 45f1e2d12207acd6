"""Simplify: algebra on the densities of a Form before it is compiled.

Law: each rule is an identity, so the simplified form has the same measure; the rules change rounding only.
"""

from __future__ import annotations

from .form import Form
from .log_scales import by_log_scales


def simplified(form: Form) -> Form:
    """Apply the rules everywhere in a form."""
    return by_log_scales(form)
