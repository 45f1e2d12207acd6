"""Mem: random functions, whose value at an argument is drawn when it is first asked for and then never changes.

Law: `mem(f)` is an array of independent runs of f, one for every argument, of which only those that are asked for are
run. A value belongs to the place where `mem` was called, not to the place that first asks: its sites have the scopes,
plates and handlers from there, and the argument after their names, so the order of questions changes nothing.
"""

from __future__ import annotations

import enum
import functools
import inspect
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, cast

import jax
import numpy as np

from ..errors import LawfulError, UnsupportedProgramError
from ..messages import caller, handlers, is_staged, reinstalled, surroundings
from ..tracing.primitives import current_trace


def mem[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Make a random function: it runs once for each argument, and gives the same value ever after.

    Call it inside the program, so that every run has a function of its own. The sites of the run for an argument carry
    it in their names: `theta(3)`, or `theta(3,'a')`. Two such functions with sites of one name need two scopes.

    Args:
        function: a program; its arguments are hashable, or arrays, which count by their values. A function that is
            traced takes Python values only, since its arguments name sites.

    Raises:
        LawfulError: it is called outside a program, an argument is not hashable, or a call needs its own value.
        UnsupportedProgramError: an argument is a traced value, or the first question stands inside an arm or a loop
            of a traced program.

    >>> import numpyro.distributions as dist
    >>> from lawful import handlers, sample
    >>> def colours():
    ...     colour = mem(lambda ball: sample("colour", dist.Bernoulli(0.5)))
    ...     return colour(3) == colour(3), colour(1)
    >>> record = handlers.trace(handlers.seed(colours, jax.random.key(0)))()
    >>> bool(record.value[0]), list(record.choices)
    (True, [('colour(3)',), ('colour(1)',)])
    """
    if not handlers():
        raise LawfulError(
            f"mem ({caller()}): called outside a program, so that all runs would share one function. Fix: call "
            "lawful.mem inside the program.",
        )
    memory = _Memory(function, f"mem of {getattr(function, '__name__', 'function')} ({caller()})")
    signature = inspect.signature(function)

    @functools.wraps(function)
    def remembered(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return cast("R", memory.value(bound.args, bound.kwargs))

    return remembered


class _Memory:
    """The values that a random function has so far; `where` names it in messages."""

    def __init__(self, function: Callable[..., Any], where: str) -> None:
        self.function, self.where = function, where
        self.stack, self.place = handlers(), surroundings()
        self.trace = current_trace()
        self.known: dict[Hashable, Any] = {}
        self.labels: dict[str, Hashable] = {}
        self.running: set[Hashable] = set()

    def value(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the value at an argument, from memory or from a first run."""
        named = *((None, a) for a in args), *sorted(kwargs.items())
        key = tuple((name, self.plain(argument)) for name, argument in named)
        try:
            if key in self.known:
                return self.known[key]
        except TypeError as error:
            raise LawfulError(f"{self.where}: expected hashable arguments, got {args!r}: {error}.") from error
        label = self.label(key)
        if key in self.running:
            raise LawfulError(f"{self.where}: the value at {label} needs itself, so it has none.")
        if is_staged() and current_trace() != self.trace:
            raise UnsupportedProgramError(
                f"{self.where}: {label} is asked for the first time inside a loop, an arm or another transformation "
                f"of a traced program ({caller()}), so the value could not leave it. Fix: ask for it once before, "
                "where mem is called, or run the program eagerly, by handlers.seed.",
            )
        self.running.add(key)
        try:
            with reinstalled(self.stack, replace(self.place, suffix=self.place.suffix + label)):
                self.known[key] = self.function(*args, **kwargs)
        finally:
            self.running.discard(key)
        return self.known[key]

    def plain(self, argument: Any) -> Hashable:
        """Read an argument with its type, arrays by their values, so that 1 and True are two arguments."""
        if isinstance(argument, jax.core.Tracer):
            raise UnsupportedProgramError(
                f"{self.where}: an argument is a traced value ({caller()}), and the sites of the call are named by "
                "it. Fix: call it with Python values, choose among their results by jnp.stack and an index, or run the "
                "program eagerly, by handlers.seed.",
            )
        if isinstance(argument, jax.Array | np.ndarray | np.generic):
            array = np.asarray(argument)
            argument = tuple(array) if array.ndim else array.item()
        if isinstance(argument, tuple):
            return tuple, tuple(map(self.plain, argument))
        return type(argument), argument

    def label(self, key: tuple[Any, ...]) -> str:
        """Write an argument into the names of its sites; things that look alike are numbered."""
        parts = (f"{'' if name is None else f'{name}='}{_text(argument)}" for name, argument in key)
        base = label = f"({','.join(parts)})"
        while self.labels.setdefault(label, key) != key:
            label = f"{base}#{sum(known.startswith(base) for known in self.labels)}"
        return label


def _text(plain: Any) -> str:
    kind, value = plain
    if kind is tuple:
        return f"({','.join(map(_text, value))})"
    if isinstance(value, frozenset):
        return "{" + ",".join(sorted(map(repr, value))) + "}"
    if isinstance(value, enum.Enum):
        return value.name
    text = repr(value)
    return kind.__name__ if " at 0x" in text else text
