"""Calls: the arguments of a program, given by position or by name, as one tuple.

Law: a call by name is the call by position that Python would make of it, so both have one Form and one compiled
program. Parameters after a `*` come last, in their order.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import Any

from ...errors import LawfulError

BY_PLACE = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def positional(program: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Any, ...]:
    """Give the arguments of a call by position.

    Args:
        program: a program or a Form.
        args: arguments by position.
        named: arguments by name.

    Raises: LawfulError that tells what is missing, unknown or given twice.

    >>> positional(lambda x, n=3, *, y=None: None, (1.0,), {"y": 2.0})
    (1.0, 3, 2.0)
    """
    if not named:
        return args
    places = _places(program)
    if places is None:
        raise LawfulError(
            f"{_name(program)} has no names for the arguments {', '.join(named)}: it takes them by position, and no "
            "others. Fix: give them by position, or name them in the signature of the program."
        )
    values = _values(program, places, args, named)
    last = max(i for i, p in enumerate(places) if p.name in values)
    return tuple(values.get(p.name, p.default) for p in places[: last + 1])


def call(program: Callable[..., Any], args: Sequence[Any]) -> Any:
    """Call a program with arguments by position, as `positional` gives them.

    Raises: LawfulError where they are too many or too few.

    >>> call(lambda x, *, y: (x, y), (1.0, 2.0))
    (1.0, 2.0)
    """
    places = _places(program)
    if places is None:
        return program(*args)
    values = _values(program, places, args, {})
    by_place = sum(p.kind in BY_PLACE for p in places)
    return program(*args[:by_place], **{p.name: values[p.name] for p in places[by_place : len(args)]})


def named_arguments(program: Any, args: Sequence[Any]) -> dict[str, Any]:
    """Name arguments by the parameters of a program; by their place where it has no names for them.

    >>> named_arguments(lambda x, *, y: None, (1.0, 2.0)), named_arguments(lambda *all: None, (1.0,))
    ({'x': 1.0, 'y': 2.0}, {'argument_0': 1.0})
    """
    places = _places(program)
    if places is None or len(args) > len(places):
        return {f"argument_{place}": arg for place, arg in enumerate(args)}
    return dict(zip([p.name for p in places], args, strict=False))


def _places(program: Any) -> tuple[Parameter, ...] | None:
    """Give the parameters in their order; None where not each has a place and a name of its own."""
    try:
        return _read(program)
    except TypeError:  # it is not hashable
        return _read.__wrapped__(program)


@functools.lru_cache(maxsize=256)
def _read(program: Any) -> tuple[Parameter, ...] | None:
    try:
        found = tuple(inspect.signature(program).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(p.kind is Parameter.VAR_POSITIONAL for p in found):
        return None
    return tuple(p for p in found if p.kind is not Parameter.VAR_KEYWORD)


def _values(program: Any, places: Sequence[Parameter], args: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Give all arguments of a call by name; one that Python would refuse is refused."""
    values = dict(zip([p.name for p in places], args, strict=False)) | dict(named)
    unknown = set(named) - {p.name for p in places if p.kind is not Parameter.POSITIONAL_ONLY}
    missing = [p.name for p in places if p.default is Parameter.empty and p.name not in values]
    free = [p.name for p in places if p.name not in values]
    near = {name: difflib.get_close_matches(name, free, n=1) for name in named if name in unknown}
    wrong = [f"no argument has the name {x}{f' (did you mean {n[0]}?)' if n else ''}" for x, n in near.items()]
    twice = [p.name for p in places[: len(args)] if p.name in named]
    wrong += [f"the argument {name} is given by position and by name" for name in twice]
    wrong += [f"{len(args)} arguments are given by position"] if len(args) > len(places) else []
    wrong += [f"the argument {name} is missing" for name in missing]
    if wrong:
        takes = ", ".join(p.name if p.default is Parameter.empty else f"{p.name}=..." for p in places)
        raise LawfulError(
            f"{_name(program)} takes ({takes}): {'; '.join(wrong)}. Fix: give each of these, by position or by name; "
            "an inference takes a random key before them, as plan(key, ...).",
            missing=tuple(missing),
            unknown=tuple(name for name in named if name in unknown),
        )
    return values


def _name(program: Any) -> str:
    return f"the program {getattr(program, '__name__', type(program).__name__)}"
