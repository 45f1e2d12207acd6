"""Repro: the line of a report that gives its verdict and its numbers again.

Law: after `import jax, lawful.inference`, in the same precision, the line is an expression whose value is an equal
report; what the library cannot name (a model, its arguments, an object of the user's) stands there under the name that
the user has to give it.
"""

from __future__ import annotations

import ast
import inspect
import keyword
from collections.abc import Callable
from typing import Any

from ... import kernels

CHECK, KERNELS = "lawful.inference.check", "lawful.inference.kernels"
SIMPLE = (ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.List, ast.Tuple, ast.UnaryOp)
PLAIN = (*SIMPLE, ast.USub, ast.Dict)


def line(check: Callable[..., Any], *subjects: str, **settings: Any) -> str:
    """Write a call of a check; a setting with its default value is left out.

    >>> from lawful.inference.check import mh_symmetry
    >>> line(mh_symmetry, "kernel", "model", "*args", points=50, tolerance=1e-10)
    'lawful.inference.check.mh_symmetry(kernel, model, *args, points=50)'
    """
    defaults = {name: p.default for name, p in inspect.signature(check).parameters.items()}
    shown = [f"{name}={value!r}" for name, value in settings.items() if value != defaults.get(name, inspect._empty)]
    return f"{CHECK}.{check.__name__}({', '.join([*subjects, *shown])})"


def named(value: Any, otherwise: str) -> str:
    """Return the name of a function if it can stand in a line, else another word for it.

    >>> named(named, "model"), named(lambda: 0, "model")
    ('named', 'model')
    """
    name = str(getattr(value, "__name__", ""))
    return name if name.isidentifier() and not keyword.iskeyword(name) else otherwise


def kernel_text(kernel: Any) -> str:
    """Write a kernel as an expression of public kernels, or "kernel" where its text does not give an equal one.

    >>> from lawful.inference.kernels import mh, repeat
    >>> kernel_text(repeat(mh(), 2))
    'lawful.inference.kernels.repeat(lawful.inference.kernels.mh(lawful.inference.kernels.single_site()), 2)'
    >>> kernel_text(mh(lambda current: None))
    'kernel'
    """
    public = {name: getattr(kernels, name) for name in kernels.__all__}
    try:
        tree = ast.parse(repr(kernel), mode="eval")
    except SyntaxError:
        return "kernel"
    nodes = list(ast.walk(tree))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    if not all(isinstance(node, PLAIN) for node in nodes) or not all(name.id in public for name in names):
        return "kernel"
    try:
        again = eval(compile(tree, "<kernel>", "eval"), {"__builtins__": {}, **public})
        equal = type(again) is type(kernel) and bool(again == kernel)
    except Exception:  # a text that only looks like a call of a public kernel
        return "kernel"
    if not equal:
        return "kernel"
    for name in names:
        name.id = f"{KERNELS}.{name.id}"
    return ast.unparse(tree)
