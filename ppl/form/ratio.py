"""Ratio: the log weight of a value that was drawn from a proposal, p / q.

Law: where p and q are one law the weight is 1 at every value that q draws, whatever its density.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .fingerprint import Describer
from .operations.equation import Equation, body_of
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


def is_log_ratio(function: Any) -> bool:
    """Tell whether an operation on two log densities is `log_ratio`.

    >>> form = unfold(log_ratio, 0.0, 0.0, opened=False)
    >>> is_log_ratio(form.nodes[0].function), is_log_ratio(jnp.subtract)
    (True, False)
    """
    if not isinstance(function, Equation) or function.label != "log_ratio" or len(function.literals) != 2:
        return False
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type) for a in body_of(function).in_avals]
    own: Any = unfold(log_ratio, *shapes, opened=False).nodes[0]
    return Describer().content(function) == Describer().content(own.function)
