"""Array math: the operations of a traced program on concrete arrays, by NumPy where its meaning is plain, else by JAX.

Law: `evaluate` gives what the operation gives when compiled, to rounding. NumPy serves here because an eager run is
one small operation at a time, and as an evaluation that shares nothing with the compiler.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .block import Tupled
from .lowering import CALLS, Equation

_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "max": np.maximum, "min": np.minimum, "neg": np.negative,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "exp": np.exp, "log1p": np.log1p, "expm1": np.expm1, "abs": np.abs, "sign": np.sign, "floor": np.floor, "ceil":
    np.ceil, "sqrt": np.sqrt, "tanh": np.tanh, "is_finite": np.isfinite, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "not": np.invert,
}  # fmt: skip


def evaluate(function: Any, operands: Sequence[Any]) -> Sequence[Any]:
    """Apply the function of a Det to concrete arrays; always a tuple of arrays."""
    if isinstance(function, Equation):
        rest = iter(operands)
        full = [np.asarray(next(rest) if literal is None else literal[0]) for literal in function.literals]
        return _apply(function.primitive, function.params, full, function)
    arrays = [np.asarray(x) for x in operands]
    return _call(_traced(function, arrays), arrays)


_of_closures: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = weakref.WeakKeyDictionary()


def _traced(function: Any, arrays: Sequence[np.ndarray]) -> Any:
    """Trace a function, once for operands of these shapes and types."""
    shapes = tuple((x.shape, x.dtype) for x in arrays)
    target = function.function if isinstance(function, Tupled) else function
    if "<locals>" not in getattr(target, "__qualname__", ""):
        return _of_module(function, shapes)
    known = _of_closures.setdefault(function, {})
    if shapes not in known:
        known[shapes] = _trace(function, shapes)
    return known[shapes]


@functools.lru_cache(maxsize=4096)
def _of_module(function: Any, shapes: Any) -> Any:
    """The same for a function that lives in a module, or a record of one: these are few, and met again and again."""
    return _trace(function, shapes)


def _trace(function: Any, shapes: Any) -> Any:
    return jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct(*shape) for shape in shapes))


def _apply(primitive: Any, params: dict[str, Any], operands: list[np.ndarray], equation: Equation) -> Sequence[Any]:
    rule = _RULES.get(primitive.name)
    if rule is not None:
        result = rule(operands, params)
        if result is not NotImplemented:
            return (result,)
    inner = params.get("jaxpr", params.get("call_jaxpr")) if primitive.name in CALLS else None
    if inner is not None:
        return _call(inner, operands)
    rest = (x for x, literal in zip(operands, equation.literals, strict=True) if literal is None)
    return equation(*(jnp.asarray(x) for x in rest))


def _call(closed: Any, operands: list[np.ndarray]) -> list[Any]:
    """Walk a traced function, one operation after the other."""
    jaxpr = getattr(closed, "jaxpr", closed)
    values = dict(zip(jaxpr.constvars, [np.asarray(c) for c in getattr(closed, "consts", ())], strict=True))
    values |= dict(zip(jaxpr.invars, operands, strict=True))

    def read(variable: Any) -> Any:
        return np.asarray(variable.val if hasattr(variable, "val") else values[variable])

    for eqn in jaxpr.eqns:
        inside = [read(v) for v in eqn.invars]
        whole = Equation(eqn.primitive, eqn.params, (None,) * len(inside), eqn.primitive.multiple_results)
        values.update(zip(eqn.outvars, _apply(eqn.primitive, eqn.params, inside, whole), strict=True))
    return [read(v) for v in jaxpr.outvars]


def _elementwise(operation: Callable[..., Any]) -> Callable[..., Any]:
    def rule(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
        with np.errstate(all="ignore"):
            return operation(*operands)

    return rule


def _log(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    with np.errstate(all="ignore"):
        return np.log(operands[0])


def _div(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    if not np.issubdtype(operands[0].dtype, np.floating):
        return NotImplemented
    with np.errstate(all="ignore"):
        return operands[0] / operands[1]


def _convert(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    try:
        return operands[0].astype(np.dtype(params["new_dtype"]))
    except TypeError:
        return NotImplemented


def _select(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    which, *cases = operands
    if which.dtype != bool or len(cases) != 2:
        return NotImplemented
    return np.where(which, cases[1], cases[0])


def _reduce(operation: Callable[..., Any]) -> Callable[..., Any]:
    def rule(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
        if operands[0].size == 0 and operation is not np.sum:
            return NotImplemented
        axes = tuple(params["axes"])
        return np.asarray(operation(operands[0], axis=axes)).astype(operands[0].dtype) if axes else operands[0]

    return rule


def _broadcast(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    if len(operands) != 1:
        return NotImplemented
    shape = [1] * len(params["shape"])
    for axis, size in zip(params["broadcast_dimensions"], operands[0].shape, strict=True):
        shape[axis] = size
    return np.broadcast_to(operands[0].reshape(shape), params["shape"])


def _reshape(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    if params.get("dimensions") is not None or len(operands) != 1:
        return NotImplemented
    return operands[0].reshape(params["new_sizes"])


def _squeeze(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    return np.squeeze(operands[0], axis=tuple(params["dimensions"]))


def _power(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    return operands[0] ** params["y"] if params["y"] >= 0 else NotImplemented


def _dynamic_slice(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    array, *starts = operands
    sizes = params["slice_sizes"]
    if len(starts) != array.ndim:
        return NotImplemented
    first = [int(np.clip(s, 0, n - k)) for s, n, k in zip(starts, array.shape, sizes, strict=True)]
    return array[tuple(slice(f, f + k) for f, k in zip(first, sizes, strict=True))]


def _gather(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    """Take rows: what `table[i]` becomes, for a scalar or an array `i`."""
    array, index = operands
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    axes, rest = tuple(numbers.start_index_map), array.ndim - len(numbers.start_index_map)
    batch = index.ndim - 1
    if tuple(numbers.collapsed_slice_dims) != axes or numbers.operand_batching_dims:
        return NotImplemented
    if tuple(numbers.offset_dims) != tuple(range(batch, batch + rest)):
        return NotImplemented
    if any(sizes[a] != (1 if a in axes else array.shape[a]) for a in range(array.ndim)):
        return NotImplemented
    if not all(((index[..., k] >= 0) & (index[..., k] < array.shape[a])).all() for k, a in enumerate(axes)):
        return NotImplemented
    first = np.moveaxis(array, axes, range(len(axes)))
    return first[tuple(index[..., k] for k in range(len(axes)))]


def _iota(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    shape, axis = params["shape"], params["dimension"]
    index = np.arange(shape[axis], dtype=np.dtype(params["dtype"]))
    return np.broadcast_to(index.reshape([-1 if a == axis else 1 for a in range(len(shape))]), shape)


def _concatenate(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    return np.concatenate(operands, axis=params["dimension"])


def _clamp(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    low, value, high = operands
    return np.minimum(np.maximum(value, low), high)


def _cumsum(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    if params["reverse"]:
        return NotImplemented
    return np.cumsum(operands[0], axis=params["axis"], dtype=operands[0].dtype)


def _rem(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    return np.fmod(*operands) if (operands[1] != 0).all() else NotImplemented


def _slice(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    strides = params["strides"] or (1,) * operands[0].ndim
    bounds = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return operands[0][tuple(slice(*b) for b in bounds)]


def _argmax(operands: list[np.ndarray], params: dict[str, Any]) -> Any:
    if len(params["axes"]) != 1:
        return NotImplemented
    return np.argmax(operands[0], axis=params["axes"][0]).astype(np.dtype(params["index_dtype"]))


_RULES: dict[str, Callable[..., Any]] = {
    **{name: _elementwise(operation) for name, operation in _ELEMENTWISE.items()},
    "log": _log,
    "div": _div,
    "convert_element_type": _convert,
    "select_n": _select,
    "reduce_sum": _reduce(np.sum),
    "reduce_max": _reduce(np.max),
    "reduce_min": _reduce(np.min),
    "reduce_and": _reduce(np.all),
    "reduce_or": _reduce(np.any),
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _squeeze,
    "integer_pow": _power,
    "dynamic_slice": _dynamic_slice,
    "gather": _gather,
    "iota": _iota,
    "concatenate": _concatenate,
    "clamp": _clamp,
    "cumsum": _cumsum,
    "rem": _rem,
    "slice": _slice,
    "argmax": _argmax,
    "stop_gradient": lambda operands, params: operands[0],
    "copy": lambda operands, params: operands[0],
}
