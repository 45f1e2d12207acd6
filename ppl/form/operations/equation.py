"""Equations: an operation of JAX as a function, and how functions that it calls are opened.

Law: an equation gives what the operation gives for the operands that are no literals of the program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from .jax_extension import Literal

CALLS = ("jit", "pjit", "closed_call", "core_call", "remat2", "remat", "checkpoint", "custom_jvp_call",
         "custom_vjp_call", "custom_vjp_call_jaxpr", "custom_lin")  # fmt: skip
BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # where a call keeps what it calls


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Equation:
    """One JAX operation as a function of its non-literal operands."""

    primitive: Any
    params: dict[str, Any]
    literals: tuple[Any, ...]
    multiple: bool

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        """Apply the operation; always a tuple."""
        rest = iter(values)
        operands = [next(rest) if literal is None else literal[0] for literal in self.literals]
        bind = getattr(self.primitive, "get_bind_params", None)
        if bind is None:
            out = self.primitive.bind(*operands, **self.params)
        else:
            out = self._call(bind, operands)
        return tuple(out) if self.multiple else (out,)

    @property
    def calls(self) -> bool:
        """Whether it calls a traced function of its own."""
        return bool(jaxprs_in(self.params))

    @property
    def draws(self) -> bool:
        """Whether it makes random numbers."""
        return _draws(self.primitive.name, self.params)

    @property
    def acts(self) -> bool:
        """Whether it does more than give its results, as a callback may."""
        return "callback" in self.primitive.name or any(jaxpr.effects for jaxpr in jaxprs_in(self.params))

    def _call(self, bind: Callable[..., Any], operands: list[Any]) -> Any:
        bound = bind(self.params)
        if isinstance(bound, dict):
            return self.primitive.bind(*operands, **bound)
        subfunctions, params = bound
        return self.primitive.bind(*subfunctions, *operands, **params)


def literal_array(literal: Any) -> np.ndarray:
    """Read a number that the program wrote as an array of the type it was traced with."""
    return np.asarray(literal.val, literal.aval.dtype)


def identity(value: Any) -> tuple[Any]:
    """Return a value as it is: the operation of a named value."""
    return (value,)


def scan_counts(params: dict[str, Any], operands: Sequence[Any]) -> tuple[int, int]:
    """Number of constants and carries among the operands of a scan; the parameters changed in jax 0.11."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = params["ft_in"].update(tuple(operands)).unpack()
    return len(list(consts)), len(list(carry))


def jaxprs_in(params: dict[str, Any]) -> list[Any]:
    """List the traced functions among the parameters of an operation."""
    found = []
    for value in params.values():
        if value is None or isinstance(value, int | str):
            continue
        for item in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(item, "jaxpr", item)
            if hasattr(inner, "eqns"):
                found.append(inner)
    return found


def traced_parts(value: Any) -> tuple[Any, ...] | None:
    """Take a traced function apart: constants, types, operations and how they are wired; None for anything else."""
    jaxpr = getattr(value, "jaxpr", value)
    if not hasattr(jaxpr, "eqns"):
        return None
    numbers: dict[Any, int] = {}

    def wired(variables: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(
            ("literal", literal_array(v)) if isinstance(v, Literal) else numbers.setdefault(v, len(numbers))
            for v in variables
        )

    heads = wired(jaxpr.constvars), wired(jaxpr.invars)
    shapes = tuple((v.aval.shape, v.aval.dtype) for v in jaxpr.invars)
    steps = tuple((eqn.primitive, eqn.params, wired(eqn.invars), wired(eqn.outvars)) for eqn in jaxpr.eqns)
    return tuple(getattr(value, "consts", ())), heads, shapes, steps, wired(jaxpr.outvars)


def count_equations(function: Callable[..., Any], *args: Any) -> int:
    """Count the operations of a function on arguments of given shapes, with those of the functions that it calls."""
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _count(jaxpr: Any) -> int:
    return sum(1 + sum(map(_count, jaxprs_in(eqn.params))) for eqn in jaxpr.eqns)


def _draws(name: str, params: dict[str, Any]) -> bool:
    """Tell whether an operation makes random numbers, or one inside it."""
    return name == "random_bits" or any(
        _draws(eqn.primitive.name, eqn.params) for jaxpr in jaxprs_in(params) for eqn in jaxpr.eqns
    )
