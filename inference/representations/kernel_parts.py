"""Kernel parts: the kernels inside a kernel that is composed of others, found and changed by the fields that hold them.

Law: what is composed of the same kernels is the same; a kernel that holds no other is a part by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

SIGNAL = "~tune"  # begins the name of what a kernel tells who tunes it: whether it ran, its acceptance, its coordinates


def replaced(kernel: Any, wanted: type[Any], change: Callable[[Any], Any]) -> Any:
    """Change the parts of a kernel that are of a type, from the first to the last.

    >>> from lawful.inference import kernels
    >>> replaced(kernels.repeat(kernels.mh(), 2), type(kernels.mh()), kernels.barker)
    repeat(barker(mh(single_site())), 2)
    """
    if isinstance(kernel, wanted):
        return change(kernel)
    if not is_dataclass(kernel) or isinstance(kernel, type):
        return kernel
    new: dict[str, Any] = {}
    for field in fields(kernel):
        value = getattr(kernel, field.name)
        if field.name == "kernel":
            new[field.name] = replaced(value, wanted, change)
        elif field.name == "kernels":
            new[field.name] = tuple(replaced(part, wanted, change) for part in value)
    return replace(kernel, **new) if new else kernel


def parts_of(kernel: Any, wanted: type[Any]) -> list[Any]:
    """List the parts of a kernel that are of a type."""
    found: list[Any] = []

    def seen(part: Any) -> Any:
        found.append(part)
        return part

    replaced(kernel, wanted, seen)
    return found
