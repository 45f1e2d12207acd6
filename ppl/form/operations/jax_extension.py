"""JAX extension: all that is used of JAX's interface for extensions, in the one module that a new JAX may break."""

from jax.extend.core import Literal, Primitive, get_opaque_trace_state
from jax.interpreters import ad, batching

__all__ = ["Literal", "Primitive", "ad", "batching", "get_opaque_trace_state"]
