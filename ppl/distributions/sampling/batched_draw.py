"""Batched draw: from a draw of one value to a draw of many independent values, with one random key for all.

Law: each lane of the batched draw, a copy along a vmapped axis, has the law of the scalar draw at that lane's
arguments, and the lanes are independent given the arguments. Why: in the trace of the scalar draw random numbers enter
at `random_bits` and `random_gamma` alone, and at the standard normals that are made of them; these give each lane its
own, and all that follows is a function of them, mapped over the lanes. A draw for which that cannot be seen, because it
loops over keys or looks inside one, falls back to a key per lane, which is right for every draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ...errors import LawfulError
from .normal import standard_normals
from .threefry import is_threefry, words

# Calls that mean their body: the parameter that holds it.
CALLS = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr", "remat": "jaxpr",
    "remat2": "jaxpr", "checkpoint": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
}  # fmt: skip


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
        LawfulError: the draw returns something else than one array of numbers, uses a key that it was not given, or
            consumes randomness without using it.

    >>> import numpyro.distributions as dist
    >>> normal = lambda key, loc: dist.Normal(loc, 1.0).sample(key)
    >>> many = widen(normal, [jnp.zeros(())], [True], 1000)
    >>> many.fallback, many.function(jax.random.key(0), jnp.linspace(0.0, 1.0, 1000)).shape
    (False, (1000,))
    """
    key = jax.eval_shape(lambda: jax.random.key(0))
    single = [_struct(argument) for argument in arguments]
    many = [jax.ShapeDtypeStruct((lanes, *s.shape), s.dtype) if m else s for s, m in zip(single, laned, strict=True)]
    scalar = jax.make_jaxpr(draw)(key, *single)
    if len(scalar.out_avals) != 1 or _is_key(scalar.out_avals[0]):
        raise LawfulError(f"a draw must return one array of numbers, this one returns {_show(scalar.out_avals)}.")
    try:
        wide = jax.make_jaxpr(lambda key, *values: _interpret(scalar, key, values, laned, lanes))(key, *many)
    except _KeyPerLane:
        axes = (0, *(0 if m else None for m in laned))
        mapped = jax.vmap(draw, in_axes=axes, axis_size=lanes)
        return Widened(_checked(lambda key, *values: mapped(jax.random.split(key, lanes), *values), key, many), True)
    return Widened(_checked(lambda key, *values: _evaluate(wide, key, *values)[0], key, many), False)


def _foreign_key() -> LawfulError:
    return LawfulError(
        "a draw uses a key that it was not given: all lanes would share one value. Derive every key from the argument "
        "`key`, by jax.random.split or fold_in."
    )


class _KeyPerLane(Exception):
    """The trace cannot be widened with one key."""


@dataclass(frozen=True)
class _Value:
    """A value of the interpreter: with a leading axis of lanes, or the same for all lanes."""

    array: Any
    laned: bool


def _interpret(closed: Any, key: Any, values: Sequence[Any], laned: Sequence[bool], lanes: int) -> Any:
    inputs = [_Value(key, False), *(_Value(v, m) for v, m in zip(values, laned, strict=True))]
    (out,) = _run(closed.jaxpr, closed.consts, inputs, lanes)
    if out.laned:
        return out.array
    if any(_draws(equation) for equation in _equations(closed.jaxpr)):
        raise LawfulError(
            f"a draw of type {_show(closed.out_avals)} consumes random numbers, but its value does not depend on them: "
            "all lanes would share one value. Return a value computed from the random numbers."
        )
    return jnp.broadcast_to(out.array, (lanes, *out.array.shape))


def _run(jaxpr: Any, constants: Sequence[Any], inputs: Sequence[_Value], lanes: int) -> list[_Value]:
    """Interpret a jaxpr; no number that is the same for all lanes ever depends on a key."""
    known: dict[Any, _Value] = {}

    def read(atom: Any) -> _Value:
        return known[atom] if _is_variable(atom) else _Value(atom.val, False)

    if any(_is_key(constant.aval) for constant in jaxpr.constvars):
        raise _foreign_key()
    known.update(zip(jaxpr.constvars, (_Value(c, False) for c in constants), strict=True))
    known.update(zip(jaxpr.invars, inputs, strict=True))
    for equation in _live(jaxpr):
        outputs = _step(equation, [read(atom) for atom in equation.invars], lanes)
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _live(jaxpr: Any) -> list[Any]:
    """Keep the equations that the outputs need: distributions also trace checks of their parameters."""
    needed = set(filter(_is_variable, jaxpr.outvars))
    kept = []
    for equation in reversed(jaxpr.eqns):
        if equation.effects or not needed.isdisjoint(equation.outvars):
            needed.update(filter(_is_variable, equation.invars))
            kept.append(equation)
    return kept[::-1]


def _step(equation: Any, inputs: Sequence[_Value], lanes: int) -> list[_Value]:
    name = equation.primitive.name
    if not _touches_keys(equation):
        return _map(equation, inputs)
    keys = [value for value, atom in zip(inputs, equation.invars, strict=True) if _is_key(atom.aval)]
    if not keys:
        raise _foreign_key()
    if any(key.laned for key in keys):
        raise _KeyPerLane
    if name == "random_bits" and equation.params["bit_width"] == 32 and is_threefry(keys[0].array):
        return [_Value(words(keys[0].array, (lanes, *equation.params["shape"])), True)]
    if name == "random_bits":
        bits = equation.primitive.bind(
            keys[0].array, **{**equation.params, "shape": (lanes, *equation.params["shape"])}
        )
        return [_Value(jnp.moveaxis(bits, keys[0].array.ndim, 0), True)]
    if name == "random_gamma":
        return [_Value(_gamma(equation, inputs[0], inputs[1], lanes), True)]
    if _is_standard_normal(equation) and is_threefry(keys[0].array):
        return [_Value(standard_normals(keys[0].array, (lanes, *equation.outvars[0].aval.shape)), True)]
    if name in CALLS:
        body = equation.params[CALLS[name]]
        jaxpr, constants = (body.jaxpr, body.consts) if hasattr(body, "consts") else (body, ())
        return _run(jaxpr, constants, inputs, lanes)
    if any(value.laned for value in inputs) or not all(_is_key(variable.aval) for variable in equation.outvars):
        raise _KeyPerLane
    return _map(equation, inputs)  # keys to keys: split, fold_in, slices


def _gamma(equation: Any, key: _Value, parameter: _Value, lanes: int) -> Any:
    """Draw the gamma variates of all lanes: the parameter gets its lanes right behind the axes of the key."""
    array, axes = parameter.array, key.array.ndim
    if not parameter.laned:
        array = jnp.broadcast_to(array, (lanes, *array.shape))
    drawn = equation.primitive.bind(key.array, jnp.moveaxis(array, 0, axes), **equation.params)
    return jnp.moveaxis(drawn, axes, 0)


def _map(equation: Any, inputs: Sequence[_Value]) -> list[_Value]:
    """Evaluate an equation that is a function of its inputs: on each lane, or once."""
    laned = any(value.laned for value in inputs)
    function = _bound(equation)
    if laned:
        function = jax.vmap(function, in_axes=tuple(0 if value.laned else None for value in inputs))
    return [_Value(out, laned) for out in function(*(value.array for value in inputs))]


def _bound(equation: Any) -> Callable[..., Sequence[Any]]:
    def function(*operands: Any) -> Sequence[Any]:
        found = equation.primitive.get_bind_params(equation.params)
        functions, params = ((), found) if isinstance(found, dict) else found  # a pair before JAX 0.11
        result = equation.primitive.bind(*functions, *operands, **params)
        return tuple(result) if equation.primitive.multiple_results else (result,)

    return function


def _evaluate(closed: Any, *inputs: Any) -> list[Any]:
    """Evaluate a closed jaxpr as it is."""
    known = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    known.update(zip(closed.jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> Any:
        return known[atom] if _is_variable(atom) else atom.val

    for equation in closed.jaxpr.eqns:
        outputs = _bound(equation)(*(read(atom) for atom in equation.invars))
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in closed.jaxpr.outvars]


def _checked(function: Callable[..., Any], key: Any, structs: Sequence[Any]) -> Callable[..., jax.Array]:
    """Refuse arguments of other shapes than announced, which would be broadcast to wrong values."""

    def checked(given: jax.Array, *values: Any) -> jax.Array:
        if getattr(given, "dtype", None) != key.dtype or given.shape != ():
            raise LawfulError(
                f"a widened draw takes one key of type {key.dtype}, got {_show([given])}: "
                "make it by jax.random.key(seed)."
            )
        arrays = [v if _is_key(s) else jnp.asarray(v, s.dtype) for v, s in zip(values, structs, strict=True)]
        for position, (array, struct) in enumerate(zip(arrays, structs, strict=True)):
            if array.shape != struct.shape:
                raise LawfulError(
                    f"argument {position} of a widened draw has shape {array.shape}, expected {struct.shape}.",
                    position=position, given=array.shape, expected=struct.shape,
                )  # fmt: skip
        return function(given, *arrays)

    return checked


def _touches_keys(equation: Any) -> bool:
    """Tell whether an equation, or the bodies inside it, read or make keys."""
    atoms = (*equation.invars, *equation.outvars)
    if any(_is_key(atom.aval) for atom in atoms):
        return True
    return any(_touches_keys(inner) for body in _bodies(equation) for inner in body.eqns)


def _is_standard_normal(equation: Any) -> bool:
    """Tell whether an equation is the function of JAX that draws standard normals, in float32.

    It is known by its name; under another name it would be widened through its body, which is right, too.
    """
    named = equation.primitive.name in ("jit", "pjit") and equation.params["name"] == "_normal_real"
    return named and len(equation.invars) == 1 and equation.outvars[0].aval.dtype == jnp.float32


def _draws(equation: Any) -> bool:
    return equation.primitive.name in ("random_bits", "random_gamma")


def _equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for body in _bodies(equation):
            yield from _equations(body)


def _bodies(equation: Any) -> Iterator[Any]:
    """List the jaxprs inside an equation, closed or open, alone or in a tuple."""
    for parameter in equation.params.values():
        for item in parameter if isinstance(parameter, tuple | list) else (parameter,):
            inner = getattr(item, "jaxpr", item)
            if hasattr(inner, "eqns"):
                yield inner


def _is_variable(atom: Any) -> bool:
    return not hasattr(atom, "val")  # a literal has its value


def _is_key(aval: Any) -> bool:
    return hasattr(aval, "dtype") and jnp.issubdtype(aval.dtype, jax.dtypes.prng_key)


def _struct(argument: Any) -> jax.ShapeDtypeStruct:
    dtype = argument.dtype if hasattr(argument, "dtype") else jnp.result_type(argument)
    return jax.ShapeDtypeStruct(jnp.shape(argument), dtype)


def _show(values: Sequence[Any]) -> str:
    """Write types for people: float32[3]."""
    shown = [f"{getattr(v, 'dtype', type(v).__name__)}{list(getattr(v, 'shape', ()))}" for v in values]
    return ", ".join(shown) or "nothing"
