"""Inverses: the logarithm of an exponential is its argument.

Law: log(exp(x)) = x to rounding wherever the left side is finite; where exp(x) overflows, or is rounded to zero, the
right side alone is right. The reverse stays: exp(log(x)) is NaN where x is negative, which has to be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import jax.numpy as jnp

from ...form import Det, Form, Var, with_operations
from ...form.operations.equation import Equation
from ...form.operations.sums import SAME


def without_inverses(form: Form) -> Form:
    """Read x in place of log(exp(x)), also inside loops and branches.

    >>> import lawful
    >>> form = lawful.trace(lambda x: jnp.log(jnp.exp(x)) + 1.0, 2.0)
    >>> [node.function == SAME for node in without_inverses(form).nodes]
    [False, True, False]
    """
    return with_operations(form, _undone)


def _undone(node: Det, made: Mapping[Var, Det]) -> Det:
    source = made.get(node.ins[0]) if _name(node) == "log" else None
    if source is None or _name(source) != "exp" or source.plates != node.plates:
        return node
    (value,), (out,) = source.ins, node.outs
    real = jnp.issubdtype(value.dtype, jnp.floating)
    same = (value.shape, value.dtype, value.plates) == (out.shape, out.dtype, out.plates)
    return replace(node, function=SAME, ins=source.ins) if real and same else node


def _name(node: Det) -> str:
    """Return the name of an operation of JAX on one value."""
    function = node.function
    return function.primitive.name if isinstance(function, Equation) and len(node.ins) == 1 else ""
