"""Purity: whether a traced value has left its program.

Law: after a program was traced, nothing that it can reach from outside (variables around it, globals that it names,
defaults, the object of a method, and containers among them) holds a value of the trace.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax

from .addresses import show_address
from .errors import ImpureProgramError
from .form import Form, subforms, walk
from .lowering import Mark
from .messages import Source

_DEPTH = 4
_WIDTH = 1000  # elements of a container that are looked at
_LIBRARIES = ("jax", "numpy", "scipy")


def traced_values(program: Any) -> dict[int, tuple[str, Any]]:
    """Find the traced values that a program can reach: by identity, with the name of the place.

    >>> traced_values(lambda: None)
    {}
    """
    found: dict[int, tuple[str, Any]] = {}
    _walk("", program, found, set(), _DEPTH)
    return found


def refuse_escaped(program: Callable[..., Any], before: Mapping[int, Any], drawn: Sequence[tuple[Any, Mark]]) -> None:
    """Refuse a program that keeps a value of its trace.

    Args:
        program: the program.
        before: what it could reach before it was traced.
        drawn: weak references to the values of its sites, with their marks.

    Raises: ImpureProgramError naming the site and the variable.
    """
    for identity, (place, value) in traced_values(program).items():
        if identity not in before:
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
    for constants in (form.constants, *(inner.constants for node in walk(form) for inner in subforms(node))):
        for _, value in constants:
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


def _walk(name: str, value: Any, found: dict[int, tuple[str, Any]], seen: set[int], depth: int) -> None:
    if isinstance(value, jax.core.Tracer):
        found.setdefault(id(value), (name, value))
        return
    if depth == 0 or id(value) in seen or isinstance(value, types.ModuleType | type | str | bytes):
        return
    if isinstance(value, types.FunctionType) and (value.__module__ or "").startswith(_LIBRARIES):
        return
    seen.add(id(value))
    for inner, part in _parts(name, value):
        _walk(inner, part, found, seen, depth - 1)


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, functools.partial):
        yield from ((name, part) for part in (value.func, *value.args, *value.keywords.values()))
    elif isinstance(value, types.MethodType):
        yield from ((f"attribute '{key}'", part) for key, part in getattr(value.__self__, "__dict__", {}).items())
        yield name, value.__func__
    elif isinstance(value, types.FunctionType):
        yield from _surroundings(value)
    elif isinstance(value, dict):
        yield from ((name, part) for part in list(value.values())[:_WIDTH])
    elif isinstance(value, list | tuple | set):
        yield from ((name, part) for part in list(value)[:_WIDTH])


def _surroundings(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """List the variables around a function, the globals that it names, and its defaults."""
    code = function.__code__
    for variable, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"variable '{variable}'", cell.cell_contents
        except ValueError:  # not filled yet
            continue
    for variable in _global_names(code):
        if variable in function.__globals__:
            yield f"global '{variable}'", function.__globals__[variable]
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    yield from (("a default argument", part) for part in defaults)


def _global_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)
