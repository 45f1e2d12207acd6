"""Misfits: distributions that numpyro refuses while a program runs, told with the site that they were made for.

Law: an error is changed only where its reason is known; any other goes on as it is.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import jax
from numpyro.distributions import Distribution

from .errors import SingularScaleError
from .messages import Source, user_line
from .scales import fault_of, scales_of, singular


def singular_scale(error: BaseException) -> SingularScaleError | None:
    """Read an error that a distribution raised when it was made; None where no scale was the reason."""
    for distribution in _refused(error):
        for name, value in scales_of(distribution).items():
            if not isinstance(value, jax.core.Tracer):
                fault = fault_of(name, value)
                if fault is not None:
                    source = user_line(error)
                    site = _site_at(source)
                    return singular(fault, (site,) if site else None, source)
    return None


def _refused(error: BaseException) -> Iterator[Any]:
    """Find the distributions that were being checked, from the innermost call outwards."""
    trace = error.__traceback__
    frames: list[FrameType] = []
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    for frame in reversed(frames):
        distribution = frame.f_locals.get("self")
        if isinstance(distribution, Distribution):
            yield distribution


def _site_at(source: Source) -> str | None:
    """Read the name of the site at a line of a program, where the line writes it out."""
    try:
        statements = _statements(source.file)
    except (OSError, SyntaxError, ValueError):
        return None
    around = [c for c in statements if c.lineno <= source.line <= (c.end_lineno or c.lineno)]
    if not around:
        return None
    first = max(around, key=lambda call: (call.lineno, call.col_offset)).args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


@functools.lru_cache(maxsize=8)
def _statements(file: str) -> tuple[ast.Call, ...]:
    """List the calls of `sample` in a file."""
    calls = (node for node in ast.walk(ast.parse(Path(file).read_text())) if isinstance(node, ast.Call))
    return tuple(c for c in calls if c.args and getattr(c.func, "attr", getattr(c.func, "id", "")) == "sample")
