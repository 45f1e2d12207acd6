"""Bundles: records of values, which go into loops, branches and forms, and come out of them, under their names.

Law: a bundle is listed and filled in one order, that of its fields, so that what is read is what was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from .nodes import Var


def listed(bundle: Any) -> tuple[Any, ...]:
    """List the values of a bundle: a value, None, or tuples, dictionaries and dataclasses of bundles.

    >>> listed(({"b": 1, "a": (2, None)}, 3))
    (1, 2, 3)
    """
    if bundle is None:
        return ()
    if isinstance(bundle, Mapping):
        inside: Iterable[Any] = bundle.values()
    elif _is_record(bundle):
        inside = (getattr(bundle, field.name) for field in fields(bundle))
    elif isinstance(bundle, tuple | list):
        inside = bundle
    else:
        return (bundle,)
    return tuple(value for part in inside for value in listed(part))


def changed(bundle: Any, change: Callable[[Any], Any]) -> Any:
    """Change every value of a bundle."""
    if bundle is None:
        return None
    if isinstance(bundle, Mapping):
        return {name: changed(part, change) for name, part in bundle.items()}
    if _is_record(bundle):
        return replace(bundle, **{f.name: changed(getattr(bundle, f.name), change) for f in fields(bundle)})
    if isinstance(bundle, tuple | list):
        return tuple(changed(part, change) for part in bundle)
    return change(bundle)


def _is_record(bundle: Any) -> bool:
    return is_dataclass(bundle) and not isinstance(bundle, type | Var)


def filled[Bundle](bundle: Bundle, values: Iterable[Any]) -> Bundle:
    """Make a bundle like another one of other values.

    Raises: ValueError where these are not as many.

    >>> filled(({"b": 1, "a": (2, None)}, 3), (4, 5, 6))
    ({'b': 4, 'a': (5, None)}, 6)
    """
    rest = iter(values)
    made: Bundle = changed(bundle, lambda _: next(rest))
    if next(rest, rest) is not rest:
        raise ValueError(f"a bundle of {len(listed(bundle))} values was given more")
    return made


def like[Bundle](bundle: Bundle) -> Bundle:
    """Make new values of the same shapes and types."""
    made: Bundle = changed(bundle, Var.like)
    return made


def rows[Bundle](bundle: Bundle) -> Bundle:
    """Make the values of one step of stacked ones."""
    made: Bundle = changed(bundle, lambda v: Var(v.shape[1:], v.dtype, v.plates))
    return made
