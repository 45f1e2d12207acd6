"""Taken: what a program that a kernel runs takes of the model's arguments: arrays by place, whole arguments by name.

Law: such a program is traced with the same arguments, in the same order, as it is given when the kernel runs. What an
algorithm adds to the inputs of the model, as the point of a path, is no argument.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.arguments.arrays import Argument, arguments_of


@dataclass(frozen=True)
class Taken:
    """How many arrays among the model's arguments a program takes by place, and which arguments by name."""

    arrays: int
    named: Mapping[str, Argument]

    def values[V](self, inputs: Sequence[V]) -> list[V]:
        """List those inputs of the model that become inputs of the traced program."""
        return [*inputs[: self.arrays], *(v for each in self.named.values() for v in inputs[each.inputs])]

    def given(self, inputs: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Give the arguments by place and by name at values of the model's inputs."""
        return list(inputs[: self.arrays]), {name: each.made(inputs) for name, each in self.named.items()}


def taken(function: Callable[..., Any], first: int, program: Form, who: str) -> Taken:
    """Read what a function takes of a model's arguments behind its first ones, as the current choices.

    Args:
        function: each positional parameter takes the next array among the arguments, and one that may be given by name
            alone the argument of its name: an array, or a tree of them with what is no array.
        first: how many positional parameters are for other things.
        program: the model.
        who: who asks, for the error.

    Raises: LawfulError for a name that no argument has.

    >>> import lawful
    >>> form = lawful.trace(lambda x, n, at: x, 1.0, 3, (2.0, 4.0))
    >>> wanted = taken(lambda current, x, *, at: None, 1, form, "mh")
    >>> wanted.values(["x", "a", "b"]), wanted.given(["x", "a", "b"])
    (['x', 'a', 'b'], (['x'], {'at': ('a', 'b')}))
    """
    known = arguments_of(program)
    most = len(program.inputs) if program.in_tree is None else program.in_tree.num_leaves
    places = inspect.signature(function).parameters.values()
    named = {}
    for place in (p for p in places if p.kind is p.KEYWORD_ONLY):
        if place.name in known:
            named[place.name] = known[place.name]
        elif place.default is place.empty:
            there = f"the model takes {', '.join(known)}" if known else "the names of the model's are not known here"
            raise LawfulError(
                f"{who}: it asks for the argument '{place.name}' by name, and {there}. Fix: name an argument of the "
                "model, as def proposal(current, *, data).",
                argument=place.name,
            )
    return Taken(positional(function, first + most) - first, named)


def positional(function: Callable[..., Any], most: int) -> int:
    """Count the positional arguments that a function takes, `most` at most; one that takes any number takes as many.

    >>> positional(lambda current, y: None, 5), positional(lambda *arrays: None, 5)
    (2, 5)
    """
    kinds = [p.kind for p in inspect.signature(function).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return most
    return sum(k in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for k in kinds)
