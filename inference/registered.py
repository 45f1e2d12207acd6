"""Registered classes: the names by which files speak of the settings of a run, and the register of methods.

Law: a name stands for its class for good, wherever the class is defined and whatever it is called there, so a file is
read after any move. Only what is registered is ever made from a file.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

PACKAGES = ("lawful.inference", "lawful.inference.kernels")
_names: dict[type, str] = {}
METHODS: dict[str, Any] = {}  # the methods that are loaded, by the name of their call, as `method` registers them


def stored_as[Kind: type](name: str) -> Callable[[Kind], Kind]:
    """Register a frozen dataclass under the public name of what makes it; the name is never changed.

    >>> from dataclasses import dataclass
    >>> @stored_as("example")
    ... @dataclass(frozen=True)
    ... class Example:
    ...     size: int
    >>> stored_name(Example), registered("example") is Example, registered("os:system")
    ('example', True, None)
    """

    def register(kind: Kind) -> Kind:
        _names[kind] = name
        return kind

    return register


def stored_name(kind: type) -> str | None:
    """Give the name by which files speak of a class; None for one that they do not hold."""
    return _names.get(kind)


def registered(name: str) -> type | None:
    """Find a class by its name; older files have its module, a colon, and what it is called there."""
    found = _named(name)
    if found is None:  # what is public and was not asked for yet registers when it is loaded
        _load_all()
        found = _named(name)
    return found


def method_of(name: str) -> Any:
    """Find a method by the name of its call; None where there is none.

    >>> method_of("smc").name, method_of("magic")
    ('smc', None)
    """
    package = import_module(PACKAGES[0])
    if name not in METHODS and name in package.__all__:
        getattr(package, name)
    return METHODS.get(name)


def all_methods() -> dict[str, Any]:
    """Give all methods by name, those of the package and those of users that are loaded."""
    _load_all()
    return METHODS


def _load_all() -> None:
    for package in map(import_module, PACKAGES):
        for public in package.__all__:
            getattr(package, public)


def _named(name: str) -> type | None:
    return next((k for k, own in _names.items() if name == own or name.partition(":")[2] == k.__qualname__), None)
