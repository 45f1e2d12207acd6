"""On NumPy: the operations of a traced program on concrete arrays, by NumPy where its meaning is plain, else by JAX.

Law: `evaluate` gives what the operation gives when compiled, to rounding. NumPy serves here because an eager run is
one small operation at a time, and as an evaluation that shares nothing with the compiler.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..builder import Tupled
from ..nodes import Form, Var
from ..pipeline import cache_of
from .device import device_array
from .equation import Equation, body_of, scan_counts
from .from_jaxpr import Reader, operations

STEPS = 1000  # of a loop; what it takes beyond them is compiled


def evaluate(function: Any, operands: Sequence[Any]) -> Sequence[Any]:
    """Apply the function of a Det to concrete arrays; always a tuple of arrays."""
    with np.errstate(all="ignore"):
        if isinstance(function, Equation):
            return _apply(function, function.operands(map(plain, operands), _number))
        arrays = list(map(plain, operands))
        return _call(_traced(function, arrays), arrays)


def _traced(function: Any, arrays: Sequence[Any]) -> Any:
    """Trace a function, once for operands of these shapes and types."""
    shapes = tuple((x.shape, x.dtype) for x in arrays)
    target = function.function if isinstance(function, Tupled) else function
    if "<locals>" not in getattr(target, "__qualname__", ""):
        return _trace(function, shapes)  # one of a module, or a record of one: these are few, and met again and again
    known = cache_of(function)
    if shapes not in known:
        known[shapes] = _trace.__wrapped__(function, shapes)
    return known[shapes]


@functools.lru_cache(maxsize=4096)
def _trace(function: Any, shapes: Any) -> Any:
    return jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct(*shape) for shape in shapes))


def _apply(equation: Equation, operands: list[Any]) -> Sequence[Any]:
    params, rule = equation.params, equation.row.numpy
    if rule is not None:
        result = rule(operands, params)
        if result is not NotImplemented:
            return result if equation.multiple else (result,)
    inner = body_of(equation)
    if inner is not None:
        return _call(inner, operands)
    if equation.name in _CONTROL:
        operands, done = _CONTROL[equation.name](operands, params)
        if done:
            return operands
    with jax.ensure_compile_time_eval():  # a trace that goes on around it does not see it
        return equation.bare(*map(device_array, operands))


def _call(closed: Any, operands: Sequence[Any]) -> list[Any]:
    form = _opened(closed)
    values: dict[Var, Any] = dict(zip(form.inputs, operands, strict=True)) | dict(form.constants)
    for node in operations(form):
        equation: Any = node.function
        found = _apply(equation, equation.operands([values[v] for v in node.ins], _number))
        values |= zip(node.outs, map(plain, found), strict=True)
    return [values[v] for v in form.outputs]


def _opened(closed: Any) -> Form:
    """Read a traced function, once; the functions that it calls are written out."""
    known = cache_of(closed)
    if _opened not in known:
        form = Reader(lambda operation: body_of(operation) is not None).form(closed)
        known[_opened] = replace(form, constants=tuple((v, plain(array)) for v, array in form.constants))
    read: Form = known[_opened]
    return read


def _number(literal: tuple[Any, ...]) -> np.ndarray:
    return np.asarray(*literal)


def plain(value: Any) -> Any:
    """Give an array of NumPy; keys of JAX, which have no other form, stay what they are."""
    if type(value) is np.ndarray:
        return value
    typed = isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    return value if typed else np.asarray(value)


# Control flow: the results and True, or the operands of what is left to JAX and False.


def _while(operands: list[Any], params: dict[str, Any]) -> tuple[list[Any], bool]:
    """Go round as long as the condition holds, of several lanes in each; a long loop goes on compiled, where it is."""
    first, second = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    asked, inside, carry = operands[:first], operands[first:second], operands[second:]
    for _ in range(STEPS):
        (going,) = _call(params["cond_jaxpr"], [*asked, *carry])
        if not going.any():
            return carry, True
        after = _call(params["body_jaxpr"], [*inside, *carry])
        if not going.all():
            in_lanes = [going.reshape(going.shape + (1,) * (x.ndim - going.ndim)) for x in after]
            after = list(map(np.where, in_lanes, after, carry))
        carry = after
    return [*asked, *inside, *carry], False


def _cond(operands: list[Any], params: dict[str, Any]) -> tuple[list[Any], bool]:
    which = int(np.clip(int(operands[0]), 0, len(params["branches"]) - 1))
    return _call(params["branches"][which], operands[1:]), True


def _scan(operands: list[Any], params: dict[str, Any]) -> tuple[list[Any], bool]:
    """Go through the rows; a long loop, and one without steps, is left to JAX."""
    length, (held, state) = params["length"], scan_counts(params, range(len(operands)))
    if not 0 < length <= STEPS:
        return operands, False
    constants, carry, rows = operands[:held], operands[held : held + state], operands[held + state :]
    order = range(length - 1, -1, -1) if params["reverse"] else range(length)
    given: dict[int, list[Any]] = {}
    for step in order:
        found = _call(params["jaxpr"], [*constants, *carry, *(x[step] for x in rows)])
        carry, given[step] = found[:state], found[state:]
    return [*carry, *(np.stack(ys) for ys in zip(*(given[k] for k in range(length)), strict=True))], True


_CONTROL = {"while": _while, "cond": _cond, "scan": _scan}
