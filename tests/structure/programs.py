"""What a traced JAX program consists of."""

import math
from collections.abc import Iterator
from typing import Any

import jax


def equations(jaxpr: Any) -> Iterator[Any]:
    """Walk all equations of a program, also those inside loops, branches and calls."""
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield equation
        for value in equation.params.values():
            for item in value if isinstance(value, tuple | list) else (value,):
                if hasattr(getattr(item, "jaxpr", item), "eqns"):
                    yield from equations(item)


def primitives(jaxpr: Any) -> set[str]:
    return {equation.primitive.name for equation in equations(jaxpr)}


def largest(jaxpr: Any) -> int:
    """The number of elements of the largest value that any equation makes."""
    return max(math.prod(out.aval.shape) for equation in equations(jaxpr) for out in equation.outvars)


def scratch(function: Any, *operands: Any) -> int:
    """Bytes of scratch memory of the compiled program, without its inputs and outputs."""
    return jax.jit(function).lower(*operands).compile().memory_analysis().temp_size_in_bytes
