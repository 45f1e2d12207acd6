"""Permutation: the elements of an array in another order.

Law: what comes out has the elements of the array, each once. The derivative of a permutation is the permutation, and
its transpose is the inverse one, which reads too; the gather of JAX does not know that its places are all different, so
its transpose adds up what is written, which takes longer to compile and to run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .jax_extension import Primitive, ad, batching, mlir

permute_p = Primitive("permute")


@dataclass(frozen=True)
class Permutation:
    """Puts the rows of an array in an order: row k is row `order[k]` of the array.

    Args:
        order: each of 0, 1, ... n-1 once.

    >>> Permutation((2, 0, 1))(jnp.array([5.0, 6.0, 7.0]))[0].tolist()
    [7.0, 5.0, 6.0]
    """

    order: tuple[int, ...]

    def __call__(self, array: jax.Array) -> tuple[jax.Array]:
        """Permute."""
        return (permute_p.bind(array, order=self.order, axis=0),)


def _read(array: Any, *, order: tuple[int, ...], axis: int) -> jax.Array:
    return jnp.take(array, np.asarray(order, np.int32), axis=axis, mode="clip")


def _inverse(cotangent: Any, _: Any, *, order: tuple[int, ...], axis: int) -> list[Any]:
    return [permute_p.bind(cotangent, order=tuple(np.argsort(order).tolist()), axis=axis)]


def _in_lanes(arrays: Any, axes: Any, *, order: tuple[int, ...], axis: int) -> Any:
    (array,), (lanes,) = arrays, axes
    return permute_p.bind(array, order=order, axis=axis + (lanes <= axis)), lanes


permute_p.def_impl(jax.jit(_read, static_argnames=("order", "axis")))
permute_p.def_abstract_eval(lambda array, **_: jax.core.ShapedArray(array.shape, array.dtype))
ad.deflinear2(permute_p, _inverse)
batching.primitive_batchers[permute_p] = _in_lanes
mlir.register_lowering(permute_p, mlir.lower_fun(_read, multiple_results=False))
