"""Ratio: the log weight of a value that was drawn from a proposal, p / q.

Law: where p and q are one law the weight is 1 at every value that q draws, whatever its density.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp

from .fingerprint import Describer
from .operations.equation import Equation
from .operations.from_jaxpr import unfold


@jax.jit
def log_ratio(own: jax.Array, proposed: jax.Array) -> jax.Array:
    """Log weight of a proposed value, from its log densities; a value without mass has none.

    In a form it is one operation, which `is_log_ratio` knows.

    >>> log_ratio(jnp.log(jnp.array([0.5, 0.0])), jnp.log(jnp.array([0.25, 0.0]))).round(3).tolist()
    [0.693..., -inf]
    """
    possible = own > -jnp.inf
    return jnp.where(possible, own - jnp.where(possible, proposed, 0.0), -jnp.inf)


def is_log_ratio(function: Any, own: Any, proposed: Any) -> bool:
    """Tell whether an operation on two log densities of given types is `log_ratio`.

    >>> form = unfold(log_ratio, 0.0, 0.0, opened=False)
    >>> is_log_ratio(form.nodes[0].function, *form.inputs), is_log_ratio(jnp.subtract, *form.inputs)
    (True, False)
    """
    if not isinstance(function, Equation) or function.label != "log_ratio":
        return False
    return Describer().content(function) in _known((own.shape, own.dtype), (proposed.shape, proposed.dtype))


@functools.lru_cache(maxsize=64)
def _known(*types: tuple[tuple[int, ...], Any]) -> frozenset[Any]:
    """Describe the operation, on values whose types are firm or those of Python's numbers."""
    found = set()
    for weak in itertools.product((False, True), repeat=2):
        shapes = [jax.ShapeDtypeStruct(*kind, weak_type=w) for kind, w in zip(types, weak, strict=True)]
        operation: Any = unfold(log_ratio, *shapes, opened=False).nodes[0]
        found.add(Describer().content(operation.function))
    return frozenset(found)
