"""Batched draw: from a draw of one value to a draw of many independent values, with one random key for all.

Law: each lane of the batched draw, a copy along a vmapped axis, has the law of the scalar draw at that lane's
arguments, and the lanes are independent given the arguments. Why: in the trace of the scalar draw random numbers enter
at `random_bits` and `random_gamma` alone, and at the standard normals that are made of them; these give each lane its
own, and all that follows is a function of them, mapped over the lanes. A draw for which that cannot be seen, because it
loops over keys or looks inside one, falls back to a key per lane, which is right for every draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ...errors import LawfulError
from ...form import Form
from ...form.liveness import without_dead_code
from ...form.operations.equation import Equation
from ...form.operations.from_jaxpr import called, operations, unfold
from ...form.operations.jax_extension import is_key, jaxpr_as_fun
from .normal import standard_normals
from .threefry import is_threefry, words

FOREIGN_KEY = (
    "a draw uses a key that it was not given: all lanes would share one value. Derive every key from the argument "
    "`key`, by jax.random.split or fold_in."
)


@dataclass(frozen=True)
class Widened:
    """A draw of all lanes, `function(key, *arguments)`, and whether it had to fall back to a key per lane."""

    function: Callable[..., jax.Array]
    fallback: bool


def widen(draw: Callable[..., jax.Array], arguments: Sequence[Any], laned: Sequence[bool], lanes: int) -> Widened:
    """Widen a draw of one lane to `lanes` independent draws with one key.

    Args:
        draw: `draw(key, *arguments)` gives one value; it takes a typed key.
        arguments: for each argument the shape and type of one lane: an array or a `jax.ShapeDtypeStruct`.
        laned: for each argument whether it will come with a leading axis of lanes.
        lanes: the number of lanes.

    Returns:
        the widened draw; its value has a leading axis of lanes.

    Raises:
        LawfulError: the draw uses a key that it was not given, or consumes randomness without using it.

    >>> import numpyro.distributions as dist
    >>> normal = lambda key, loc: dist.Normal(loc, 1.0).sample(key)
    >>> many = widen(normal, [jnp.zeros(())], [True], 1000)
    >>> many.fallback, many.function(jax.random.key(0), jnp.linspace(0.0, 1.0, 1000)).shape
    (False, (1000,))
    """
    key = jax.eval_shape(lambda: jax.random.key(0))
    single = jax.eval_shape(lambda *values: values, *arguments)
    many = [jax.ShapeDtypeStruct((lanes, *s.shape), s.dtype) if m else s for s, m in zip(single, laned, strict=True)]
    scalar = unfold(draw, key, *single, opened=False)
    inputs = [False, *laned]
    fallback = False

    def all_lanes(*values: Any) -> Any:
        (out,) = _run(scalar, list(map(_Value, values, inputs)), lanes)
        if not out.laned and any(node.function.draws for node in operations(scalar)):
            raise LawfulError(
                "a draw consumes random numbers, but its value does not depend on them: all lanes would share one "
                "value. Return a value computed from the random numbers."
            )
        return out.array if out.laned else jnp.broadcast_to(out.array, (lanes, *out.array.shape))

    try:
        flat = jaxpr_as_fun(jax.make_jaxpr(all_lanes)(key, *many))
    except _KeyPerLane:
        fallback, axes = True, (0, *(0 if m else None for m in laned))
        mapped = jax.vmap(draw, in_axes=axes, axis_size=lanes)

    def drawn(key: jax.Array, *values: Any) -> jax.Array:
        arrays = [v if is_key(s) else jnp.asarray(v, s.dtype) for v, s in zip(values, many, strict=True)]
        return mapped(jax.random.split(key, lanes), *arrays) if fallback else flat(key, *arrays)[0]

    return Widened(drawn, fallback)


class _KeyPerLane(Exception):
    """The trace cannot be widened with one key."""


@dataclass(frozen=True)
class _Value:
    """A value of the interpreter: with a leading axis of lanes, or the same for all lanes."""

    array: Any
    laned: bool


def _run(form: Form, inputs: Sequence[_Value], lanes: int) -> list[_Value]:
    """Run a function; no number that is the same for all lanes ever depends on a key."""
    if any(is_key(value) for value, _ in form.constants):
        raise LawfulError(FOREIGN_KEY)
    known = dict(zip(form.inputs, inputs, strict=True)) | {v: _Value(array, False) for v, array in form.constants}
    for node in operations(without_dead_code(form)):  # distributions also trace checks of their parameters
        known |= zip(node.outs, _step(node, [known[v] for v in node.ins], lanes), strict=True)
    return [known[v] for v in form.outputs]


def _step(node: Any, given: Sequence[_Value], lanes: int) -> list[_Value]:
    equation: Equation = node.function
    inputs = equation.operands(given, lambda literal: _Value(literal[0], False))
    keys = [value.array for value, variable in zip(given, node.ins, strict=True) if is_key(variable)]
    if not keys and not any(map(is_key, node.outs)) and not equation.handles_keys:
        return _map(equation, inputs)
    if not keys:
        raise LawfulError(FOREIGN_KEY)
    if any(value.laned for value, variable in zip(given, node.ins, strict=True) if is_key(variable)):
        raise _KeyPerLane
    many = (lanes, *node.outs[0].shape)
    if equation.row.draws:
        return [_Value(_drawn(equation, inputs, many, node.outs[0].dtype), True)]
    if equation.is_standard_normal and node.outs[0].dtype == jnp.float32 and is_threefry(keys[0]):
        return [_Value(standard_normals(keys[0], many), True)]
    if equation.is_call:
        return _run(called(equation), inputs, lanes)
    if any(value.laned for value in inputs) or not all(map(is_key, node.outs)):
        raise _KeyPerLane
    return _map(equation, inputs)  # keys to keys: split, fold_in, slices


def _drawn(equation: Equation, inputs: Sequence[_Value], shape: tuple[int, ...], dtype: Any) -> Any:
    """Draw the random numbers of all lanes: bits in their shape, or gamma variates by their parameter."""
    key, *parameters = (value.array for value in inputs)
    axes = key.ndim
    if parameters:  # it gets its lanes right behind the axes of the key
        (parameter,) = parameters
        if not inputs[1].laned:
            parameter = jnp.broadcast_to(parameter, (shape[0], *jnp.shape(parameter)))
        (drawn,) = equation.bare(key, jnp.moveaxis(parameter, 0, axes))
    elif is_threefry(key) and dtype == jnp.uint32:
        return words(key, shape)
    else:
        (drawn,) = equation.resized(lambda own: (shape[0], *own))(key)
    return jnp.moveaxis(drawn, axes, 0)


def _map(equation: Equation, inputs: Sequence[_Value]) -> list[_Value]:
    """Apply an operation that is a function of its operands: on each lane, or once."""
    laned = any(value.laned for value in inputs)
    function: Any = equation.bare
    if laned:
        function = jax.vmap(function, in_axes=tuple(0 if value.laned else None for value in inputs))
    return [_Value(out, laned) for out in function(*(value.array for value in inputs))]
