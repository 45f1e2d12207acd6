"""Wrapping: programs around programs, each run under a handler of its own or in other surroundings.

Law: what is wrapped keeps its signature; leaving it restores handlers and surroundings, also after an exception.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from ..addresses import Address, names_of
from ..messages import Handler, SampleMessage, installed
from .named_values import Names

type Program = Callable[..., Any]


class Giving(Handler):
    """A handler that gives values to sites by name, and notes the names that it met."""

    def __init__(self, data: Mapping[Address, Any]) -> None:
        """Keep the values."""
        self.data = data
        self.seen: set[Address] = set()

    def meet(self, message: SampleMessage) -> None:
        """Note that a site was reached."""
        self.seen.add(names_of(message.address))


def handled(program: Program, make: Callable[[], Handler]) -> Program:
    """Run a program under a handler that is made for each run."""

    @functools.wraps(program, updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        with installed(make()):
            return program(*args, **kwargs)

    return run


def checked(program: Program, what: str, make: Callable[[], Giving]) -> Program:
    """Run a program under a handler that gives values by name; a name that is no site is refused after the run."""
    names = Names(program, what)

    @functools.wraps(program, updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        handler = make()
        with installed(handler):
            out = program(*args, **kwargs)
        names.refuse_unknown(handler.data, handler.seen, args, kwargs)
        return out

    return run


def within(program: Program, enter: Callable[[], AbstractContextManager[None]]) -> Program:
    """Run a program inside a context."""

    @functools.wraps(program, updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        with enter():
            return program(*args, **kwargs)

    return run
