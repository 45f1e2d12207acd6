"""Refused parameters: distributions that numpyro refuses while a program runs, told with their site.

Law: an error is changed only where its reason is known; any other goes on as it is.
"""

from __future__ import annotations

import ast
import functools
import traceback
from pathlib import Path

import jax
from numpyro.distributions import Distribution

from ..distributions.constraints import parameters_of
from ..distributions.families import law_name
from ..distributions.invalid_parameters import error_of, scales_of
from ..errors import ParameterError
from ..messages import Source, user_line


def refused_parameter(error: BaseException) -> ParameterError | None:
    """Read an error that a distribution raised when it was made; None where no parameter was the reason."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for distribution in (frame.f_locals.get("self") for frame in reversed(frames)):
        if not isinstance(distribution, Distribution):
            continue
        source = user_line(error)
        site = _site_at(source)
        address = (site,) if site else None
        scales = ((name, None, value) for name, value in scales_of(distribution).items())
        for name, constraint, value in (*scales, *parameters_of(distribution)):
            read = (value, *(() if constraint is None else vars(constraint).values()))
            if not any(isinstance(x, jax.core.Tracer) for x in read):
                found = error_of(name, constraint, value, law_name(distribution), address, source)
                if found is not None:
                    return found
    return None


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
