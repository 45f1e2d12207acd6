"""Pictures: matplotlib where a picture is asked for, and axes where none are given.

Law: nothing imports matplotlib before a picture is drawn, and its absence is told with what to do.
"""

from __future__ import annotations

from typing import Any

from lawful.errors import LawfulError

__all__ = ["axes_or_new", "pyplot"]


def pyplot() -> Any:
    """Import matplotlib, which pictures alone need.

    Raises:
        LawfulError: it is not installed.
    """
    try:
        import matplotlib.pyplot as found
    except ImportError as error:
        raise LawfulError("pictures need matplotlib. Fix: pip install 'lawful[demo]'.") from error
    return found


def axes_or_new(ax: Any, size: tuple[float, float] | None = None) -> Any:
    """Give the axes, or new ones, of a size in inches or of the usual one."""
    return pyplot().subplots(figsize=size, layout="constrained")[1] if ax is None else ax
