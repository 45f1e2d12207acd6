"""One class drawn anew, for mixtures some of whose classes nothing in the data needs.

Law: it is a proposal of `kernels.redraw` for programs that take the law they start from as the argument `start`; see
`inference.start_from`.
"""

from __future__ import annotations

from typing import Any

__all__ = ["one_class_redrawn"]


def one_class_redrawn(current: Any, *, start: Any) -> None:
    """Draw one class from its prior or around an optimum, each in half the draws."""
    start.anew(current)
