"""JAX extension: all that is used of JAX's interface for extensions, in the one module that a new JAX may break."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal, Primitive, get_opaque_trace_state, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir

__all__ = [
    "STANDARD_NORMAL", "Literal", "Primitive", "StatementPrimitive", "ad", "batching", "get_opaque_trace_state",
    "is_key", "jaxpr_as_fun", "mlir", "statement_of",
]  # fmt: skip

# The name of JAX's own function that draws standard normals; by another name it is a function like all others.
STANDARD_NORMAL = "_normal_real"


class StatementPrimitive(Primitive):
    """A primitive of this library."""


def statement_of(operation: Any) -> tuple[StatementPrimitive, dict[str, Any]] | None:
    """Give the primitive of a statement, and what it carries beside its operands; None for what is JAX's own."""
    return (operation.primitive, operation.params) if isinstance(operation.primitive, StatementPrimitive) else None


def is_key(value: Any) -> bool:
    """Tell whether a value, or its type, is one of random keys."""
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
