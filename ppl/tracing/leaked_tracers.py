"""Leaked tracers: whether a traced value has left its program.

Law: after a program was traced, nothing that it reads from outside (see `free_variables`) holds a value of the trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from ..addresses import show_address
from ..errors import ImpureProgramError
from ..form import Form, constant_arrays
from ..messages import Source
from .free_variables import Reading
from .primitives import Mark


def refuse_escaped(before: Reading, after: Reading, drawn: Sequence[tuple[Any, Mark]]) -> None:
    """Refuse a program that keeps a value of its trace.

    Args:
        before: what it read before it was traced.
        after: what it reads now.
        drawn: weak references to the values of its sites, with their marks.

    Raises: ImpureProgramError naming the site and the variable.
    """
    for identity, (place, value) in after.tracers.items():
        if identity not in before.tracers:
            mark = next((mark for reference, mark in drawn if reference() is value), None)
            what = "a traced value" if mark is None else f"the value of site '{show_address(mark.address)}'"
            raise ImpureProgramError(
                f"{what} ({'?' if mark is None else mark.source}) was stored outside the program, in {place}, where it "
                "is no number after the trace. Fix: return it, or name it by lawful.deterministic.",
                site=None if mark is None else mark.address,
                place=place,
            )


def refuse_dead(form: Form, source: Source) -> None:
    """Refuse a form with a constant that belongs to a trace which is over.

    Raises: ImpureProgramError.
    """
    for value in constant_arrays(form).values():
        if isinstance(value, jax.core.Tracer):
            try:
                jax.lax.expand_dims(value, (0,))
            except (jax.errors.UnexpectedTracerError, TypeError) as error:
                raise met_escaped(source, error) from error


def met_escaped(source: Source, error: Exception) -> ImpureProgramError:
    """Make the error of a program that meets a value of an earlier trace."""
    return ImpureProgramError(
        f"the program meets a value at {source} that an earlier run under a JAX transformation stored outside itself: "
        f"{str(error).splitlines()[0]} Fix: return values, or name them by lawful.deterministic, and store nothing.",
        source=source,
    )
