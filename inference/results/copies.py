"""Copies of results, for users who pickle them, send them to other processes or copy them deeply.

Law: a copy has the numbers, the verdict and the settings. What a pickle cannot hold, the program's Form and what
continues a run, is left out; the Form is traced again where the program can be found by its name. Files of `save`
hold no pickle.
"""

from __future__ import annotations

import copy
import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import jax

from lawful.form import Form
from lawful.tracing.trace import trace

AS_IT_IS = ("form", "model", "more")


@dataclass(frozen=True)
class Told:
    """A text that is written when it is first read, as what a plan says of itself.

    >>> str(Told(lambda: "two chains"))
    'two chains'
    """

    write: Callable[[], str]

    @functools.cached_property
    def text(self) -> str:
        """The text."""
        return self.write()

    def __str__(self) -> str:
        return self.text


def pickled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give the fields of a result that a pickle holds.

    >>> told = {"form": None, "model": lambda: 0, "args": (1,), "run": {"plan": Told(lambda: "a plan")}}
    >>> pickled(told)["model"], pickled(told)["args"], pickled(told)["run"]
    (None, (1,), {'plan': 'a plan'})
    """
    state = dict(fields) | {"more": None, "form": None}
    state["run"] = {name: str(value) if isinstance(value, Told) else value for name, value in fields["run"].items()}
    for name in ("model", "args"):
        if not all(map(_found_by_name, filter(callable, jax.tree.leaves(state[name])))):
            state[name] = None
    if isinstance(fields["form"], Form) and state["model"] is not None and state["args"] is not None:
        state["form"] = "traced again"
    return state


def restored(state: Mapping[str, Any]) -> dict[str, Any]:
    """Give the fields of a result from those that a pickle held."""
    fields = dict(state)
    if fields["form"] is not None:
        fields["form"] = None
        with suppress(Exception):  # where the program does not run here, the result is as one from a file
            fields["form"] = trace(fields["model"], *fields["args"])
    return fields


def deeply(fields: Mapping[str, Any], memo: dict[int, Any]) -> dict[str, Any]:
    """Copy the fields of a result deeply; programs, Forms and what continues a run are shared, as functions are."""
    return {name: value if name in AS_IT_IS else copy.deepcopy(value, memo) for name, value in fields.items()}


def _found_by_name(function: Any) -> bool:
    """Tell whether a function is found by its module and name, as a pickle looks for it."""
    if isinstance(function, functools.partial):
        return all(map(_found_by_name, filter(callable, (function.func, *function.args, *function.keywords.values()))))
    if not inspect.isfunction(function):
        return False
    found: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is function
