"""Inlining: a form whose calls are opened, so that every operation of JAX is a node of its own.

Law: the opened form has the measure of the form. Arms of branches are left as they are.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..tracing.lower import CALLS, Equation
from .builder import Block, renamed
from .nodes import Det, Form, Loop, Var

_BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_opened: weakref.WeakKeyDictionary[Form, Form] = weakref.WeakKeyDictionary()


def inlined(form: Form) -> Form:
    """Open the calls of a form and of the bodies of its loops; the inputs stay the same values.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda: jax.jit(lambda x: 2 * x + 1)(lawful.sample("x", dist.Normal(0.0, 1.0))))
    >>> len(form.nodes), len(inlined(form).nodes)
    (2, 3)
    """
    if form not in _opened:
        block = Block()
        block.constants.extend(form.constants)
        names: dict[Var, Var] = {v: v for v in (*form.inputs, *(v for v, _ in form.constants))}
        for node in form.nodes:
            if isinstance(node, Det) and _is_call(node):
                operands = [names[v] for v in node.ins]
                call: Any = node.function
                outs = _open(block, call, operands)
                names |= dict(zip(node.outs, outs, strict=True))
                continue
            if isinstance(node, Loop):
                node = replace(node, body=inlined(node.body))
            block.nodes.append(renamed(node, names))
        outputs = [names[v] for v in form.outputs]
        _opened[form] = block.form(form.inputs, outputs, in_tree=form.in_tree, out_tree=form.out_tree)
    return _opened[form]


def _is_call(node: Det) -> bool:
    """Tell whether a node is a call that can be opened: a named value keeps its node."""
    function = node.function
    if not isinstance(function, Equation) or node.plates or node.address is not None:
        return False
    return function.primitive.name in CALLS and any(key in function.params for key in _BODIES)


def _open(block: Block, call: Equation, operands: Sequence[Var]) -> list[Var]:
    """Append the operations of a call; returns its results."""
    closed = next(call.params[key] for key in _BODIES if key in call.params)
    jaxpr, constants = getattr(closed, "jaxpr", closed), tuple(getattr(closed, "consts", ()))
    rest = iter(operands)
    given = [next(rest) if literal is None else _constant(block, literal[0]) for literal in call.literals]
    values: dict[Any, Var] = dict(zip(jaxpr.invars, given, strict=True))
    values |= {v: _constant(block, c) for v, c in zip(jaxpr.constvars, constants, strict=True)}
    for equation in jaxpr.eqns:
        literals = tuple(_literal(v) for v in equation.invars)
        ins = tuple(values[v] for v, literal in zip(equation.invars, literals, strict=True) if literal is None)
        function = Equation(equation.primitive, dict(equation.params), literals, equation.primitive.multiple_results)
        label = str(equation.params.get("name", equation.primitive.name))
        node = Det(function, ins, tuple(Var(tuple(v.aval.shape), v.aval.dtype) for v in equation.outvars), label)
        outs: Sequence[Var] = node.outs
        if _is_call(node):
            outs = _open(block, function, ins)
        else:
            block.nodes.append(node)
        values |= dict(zip(equation.outvars, outs, strict=True))
    return [values[v] if _literal(v) is None else _constant(block, _literal(v)[0]) for v in jaxpr.outvars]


def _literal(variable: Any) -> Any:
    """Read a number written into the program, with its type; None for a variable."""
    if not hasattr(variable, "val"):
        return None
    return np.asarray(variable.val, variable.aval.dtype), variable.aval.dtype


def _constant(block: Block, array: Any) -> Var:
    value = Var(tuple(np.shape(array)), array.dtype if hasattr(array, "dtype") else np.asarray(array).dtype)
    block.constants.append((value, array))
    return value
