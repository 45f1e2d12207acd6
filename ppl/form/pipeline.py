"""Pipeline: passes, from a form to a form, are declared with their laws, and run one after the other.

What is made of a form is made once, and kept in the form; what is made of a part of it, as long as that is.

Law: what is cached dies with what it was made of, though it may hold it: a form and its cache are collected together.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from .nodes import Form


def per_form[**P, R](make: Callable[P, R]) -> Callable[P, R]:
    """Make a function of a form, and of further values that can be hashed, remember what it gives.

    >>> from lawful import trace
    >>> @per_form
    ... def names(form, ending=""):
    ...     return [site.address[-1] + ending for site in form.sites()]
    >>> form = trace(lambda: None)
    >>> names(form) is names(form), names(form, "'") is names(form)
    (True, False)
    """
    usual = tuple(parameter.default for parameter in inspect.signature(make).parameters.values())

    @functools.wraps(make)
    def found(*args: P.args, **named: P.kwargs) -> R:
        form: Any = args[0]
        assert isinstance(form, Form)
        key: Hashable = (make, *args[1:], *usual[len(args) :], *named.items())
        if key not in form.cache:
            form.cache[key] = make(*args, **named)
        result: R = form.cache[key]
        return result

    return found


type Pass = Callable[[Form], Form]

LAWS: dict[Callable[..., Form], str] = {}  # what each declared pass keeps of every form


def keeps[**P](law: str) -> Callable[[Callable[P, Form]], Callable[P, Form]]:
    """Declare a pass, from a form to a form, by what it keeps; it is made once for a form.

    >>> @keeps("everything")
    ... def itself(form):
    ...     return form
    >>> LAWS.pop(itself)
    'everything'
    """

    def declared(rule: Callable[P, Form]) -> Callable[P, Form]:
        found = per_form(rule)
        LAWS[found] = law
        return found

    return declared


def through(form: Form, passes: Iterable[Pass]) -> Form:
    """Apply passes, one after the other."""
    for rule in passes:
        form = rule(form)
    return form


_of_parts: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = weakref.WeakKeyDictionary()


def cache_of(part: Any) -> dict[Any, Any]:
    """Give what is remembered of a node, a value, or a function: nothing that holds it may be put there."""
    return _of_parts.setdefault(part, {})
